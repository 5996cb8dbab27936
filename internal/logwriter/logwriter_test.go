package logwriter

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reader is what stands behind a Writer: it takes nothing until it is opened.
type reader struct {
	open  chan struct{}
	delay time.Duration

	mu   sync.Mutex
	text bytes.Buffer
	errs []int // the next writes take so many bytes, and fail
}

func (r *reader) Write(p []byte) (int, error) {
	if r.open != nil {
		<-r.open
	}
	time.Sleep(r.delay)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) > 0 {
		n := min(r.errs[0], len(p))
		r.errs = r.errs[1:]
		r.text.Write(p[:n])
		return n, errors.New("no space left on device")
	}
	return r.text.Write(p)
}

func (r *reader) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func count(n int) []byte { return fmt.Appendf(nil, "dropped %d\n", n) }

// check reads lines "line 0", "line 1" and so on, and the counts of those left out. It
// returns how many there are with those counted, and how many were dropped.
func check(t *testing.T, text string) (total, dropped int) {
	t.Helper()
	if text != "" && !strings.HasSuffix(text, "\n") {
		t.Errorf("the last line is torn: %q", text[max(0, len(text)-50):])
	}
	for line := range strings.Lines(text) {
		var n int
		if _, err := fmt.Sscanf(line, "dropped %d\n", &n); err == nil {
			total += n
			dropped += n
		} else if line == fmt.Sprintf("line %d\n", total) {
			total++
		} else {
			t.Fatalf("%q where line %d is expected", line, total)
		}
	}
	return total, dropped
}

// Nobody ever reads: nothing waits but Flush and Close, which give up.
func TestBlockedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{open: make(chan struct{})}
		w := New(r, 1000, count)
		began := time.Now()
		for n := range 10_000 {
			fmt.Fprintf(w, "line %d\n", n)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("writing took %v", d)
		}
		w.Flush()
		if d := time.Since(began); d != Timeout {
			t.Errorf("Flush took %v, want %v", d, Timeout)
		}
		w.Flush()
		w.Close()
		if d := time.Since(began); d != Timeout {
			t.Errorf("Flush, Flush and Close took %v, want %v", d, Timeout)
		}
		w.mu.Lock()
		if n := w.writing + len(w.lines); n > 1000 {
			t.Errorf("%d bytes are buffered", n)
		}
		w.mu.Unlock()
		close(r.open) // the goroutine is to end in a test
		synctest.Wait()
		if total, dropped := check(t, r.String()); total != 10_000 || dropped < 9000 {
			t.Errorf("%d lines are written or counted, %d dropped", total, dropped)
		}
	})
}

// Close alone is bounded, too.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{open: make(chan struct{})}
		w := New(r, 1000, count)
		fmt.Fprintf(w, "line 0\n")
		began := time.Now()
		w.Close()
		if d := time.Since(began); d != Timeout {
			t.Errorf("Close took %v, want %v", d, Timeout)
		}
		close(r.open)
	})
}

// A slow reader gets whole lines in their order, and the count of those it was too slow for.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{delay: 10 * time.Millisecond}
		w := New(r, 1000, count)
		const lines = 5000
		for n := range lines {
			fmt.Fprintf(w, "line %d\n", n)
			time.Sleep(50 * time.Microsecond)
		}
		time.Sleep(time.Second)
		total, dropped := check(t, r.String()) // before Close
		if total != lines || dropped == 0 || dropped == lines {
			t.Errorf("%d lines are written or counted, %d dropped, want %d and some", total, dropped, lines)
		}
		if n := strings.Count(r.String(), "dropped"); n > lines/20 {
			t.Errorf("%d counts", n)
		}
		fmt.Fprintf(w, "line %d\n", lines)
		w.Close()
		if total, _ := check(t, r.String()); total != lines+1 {
			t.Errorf("the last of %d lines is not written", lines+1)
		}
	})
}

// All that a reader is fast enough for is written, by Flush and Close.
func TestWhole(t *testing.T) {
	r := &reader{}
	w := New(r, 1<<20, count)
	var text strings.Builder
	for n := range 20_000 {
		fmt.Fprintf(w, "line %d\n", n)
		fmt.Fprintf(&text, "line %d\n", n)
	}
	w.Flush()
	if r.String() != text.String() {
		t.Error("not everything is written after Flush")
	}
	long := strings.Repeat("x", 3*maxWrite) + "\n"
	fmt.Fprint(w, long)
	fmt.Fprint(w, "end\n")
	w.Close()
	fmt.Fprint(w, "too late\n")
	if r.String() != text.String()+long+"end\n" {
		t.Error("not everything is written after Close")
	}
}

// After a write that fails in the middle of a line, as on a full disk, the next line begins anew.
func TestErrors(t *testing.T) {
	r := &reader{errs: []int{3, 0}}
	w := New(r, 1000, count)
	for _, line := range []string{"lost\n", "lost, too\n", "line\n"} {
		fmt.Fprint(w, line)
		w.Flush()
	}
	w.Close()
	if got := r.String(); got != "los\nline\n" {
		t.Errorf("%q", got)
	}
}
