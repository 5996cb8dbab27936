// This file tests what is logged of a flood, and what is not lost of it.

package loglimit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counts is a handler that counts the lines of each message, and what Omitted says of it.
type counts struct {
	mu             sync.Mutex
	lines, omitted map[string]int
}

func newCounts() *counts { return &counts{lines: map[string]int{}, omitted: map[string]int{}} }

func (c *counts) Enabled(context.Context, slog.Level) bool { return true }
func (c *counts) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *counts) WithGroup(string) slog.Handler            { return c }

func (c *counts) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Message != Omitted {
		c.lines[r.Message]++
		return nil
	}
	message := ""
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "message":
			message = a.Value.String()
		case "omitted":
			c.omitted[message] += int(a.Value.Int64())
		}
		return true
	})
	c.lines[Omitted]++
	return nil
}

func (c *counts) of(message string) (lines, omitted int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines[message], c.omitted[message]
}

// A start of 1,000 shards is logged whole; a flood is cut, counted each 10 s, and over when it
// ends.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounts()
		log := slog.New(New(c))
		for shard := range 1000 {
			log.With("shard", shard).Info("ready")
		}
		if lines, _ := c.of("ready"); lines != 1000 {
			t.Errorf("%d of 1,000 shards are logged", lines)
		}
		for range 60 {
			for n := range 5000 {
				log.Warn("command refused", "line", n)
			}
			log.Warn("something else")
			time.Sleep(1001 * time.Millisecond) // not at the moment of a count
		}
		lines, _ := c.of("command refused")
		if want := Burst + 59*PerSecond; lines != want {
			t.Errorf("%d lines of a flood in a minute, want %d", lines, want)
		}
		if reports, _ := c.of(Omitted); reports != 6 {
			t.Errorf("counted in %d lines, want 6", reports)
		}
		if lines, _ := c.of("something else"); lines != 60 {
			t.Errorf("%d of 60 other lines", lines)
		}
		time.Sleep(time.Minute)
		if lines, omitted := c.of("command refused"); lines+omitted != 300_000 {
			t.Errorf("%d lines and %d left out, want 300,000 in all", lines, omitted)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for range Burst {
			log.Warn("command refused")
		}
		if again, _ := c.of("command refused"); again != lines+Burst {
			t.Errorf("%d lines an hour later, want %d", again-lines, Burst)
		}
	})
}

// What is left out at the end is counted at the end; lines for debugging, and those that must
// not be missed, are never left out.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		h := New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
		log := slog.New(h)
		for range Burst + 7 {
			log.Error("lost")
			log.Debug("state")
		}
		h.Flush()
		h.Flush()
		if n := strings.Count(text.String(), "omitted=7"); n != 1 || !strings.Contains(text.String(), `level=ERROR msg="log lines omitted" message=lost omitted=7`) {
			t.Errorf("%d counts of 7 in %s", n, text.String()[len(text.String())-200:])
		}
		if n := strings.Count(text.String(), "msg=state"); n != Burst+7 {
			t.Errorf("%d lines for debugging, want %d", n, Burst+7)
		}
		slog.New(h.Unlimited()).Error("lost")
		if n := strings.Count(text.String(), "msg=lost"); n != Burst+1 {
			t.Errorf("%d lines, want %d", n, Burst+1)
		}
	})
}

// Messages that are made up are as many lines as one, and are not kept.
func TestManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounts()
		h := New(c)
		log := slog.New(h)
		long := strings.Repeat("x", 1<<16)
		for n := range 20_000 {
			log.Info(fmt.Sprint(n, long))
		}
		if n := len(h.limits.buckets); n > maxKeys+3 {
			t.Errorf("%d messages are kept", n)
		}
		for k := range h.limits.buckets {
			if len(k.message) > maxMessage {
				t.Fatalf("%d bytes of a message are kept", len(k.message))
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		h.Flush()
		if n := c.omitted[others]; n != 20_000-maxKeys-Burst {
			t.Errorf("%d left out, want %d", n, 20_000-maxKeys-Burst)
		}
		log.Info("new")
		if n := len(h.limits.buckets); n != 1 {
			t.Errorf("%d messages are kept an hour later", n)
		}
	})
}

// Goroutines that log together lose no count.
func TestConcurrent(t *testing.T) {
	c := newCounts()
	h := New(c)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			log := slog.New(h).With("n", n).WithGroup("g")
			for i := range 2000 {
				log.Warn("flood", "i", i)
				if i%100 == 0 {
					h.Flush()
				}
			}
		})
	}
	all.Wait()
	h.Flush()
	if lines, omitted := c.of("flood"); lines < Burst || lines+omitted != 16_000 {
		t.Errorf("%d lines and %d left out, want 16,000 in all", lines, omitted)
	}
}

// A line that is left out costs no memory.
func TestAllocs(t *testing.T) {
	h := New(newCounts())
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "flood", 0)
	for range Burst {
		h.Handle(t.Context(), r)
	}
	if n := testing.AllocsPerRun(1000, func() { h.Handle(context.Background(), r) }); n > 0 {
		t.Errorf("%v allocations for a line that is left out", n)
	}
}

// FuzzLimit logs what the bytes say, of any messages at any times: each line is logged or
// counted, no message is logged more often than it may be, and what is kept is bounded.
func FuzzLimit(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\xf0\x00\x00"), uint16(1000), "message")
	f.Add(bytes.Repeat([]byte{7, 0xf3, 7, 0xff}, 50), uint16(300), strings.Repeat("é", 300))
	f.Add([]byte("m\xd9\x9b\xadz\xcec\xfe\xad"), uint16(1026), "counted with the others, then alone")
	f.Fuzz(func(t *testing.T, steps []byte, times uint16, message string) {
		if len(steps) > 40 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			c := newCounts()
			h := New(c)
			began, total := time.Now(), 0
			for i, step := range steps {
				if step >= 0xf0 {
					time.Sleep(time.Duration(step-0xef) * time.Second)
					continue
				}
				for range int(times) % 2000 {
					r := slog.NewRecord(time.Time{}, slog.Level(step%24), message+string(rune('a'+step%4)), 0)
					if step%5 == 0 {
						r.Message = fmt.Sprint(i, total, message)
					}
					h.Handle(t.Context(), r)
					total++
				}
			}
			// Of a message, at three levels, each with a bucket of its own and that of the others.
			most := 6*Burst + 6*PerSecond*int(time.Since(began).Seconds())
			synctest.Wait()
			h.Flush()
			sum := 0
			for m, n := range c.lines {
				if m == Omitted {
					continue
				}
				if sum += n; n > most {
					t.Errorf("%d lines of %q, at most %d may be", n, m, most)
				}
			}
			for _, n := range c.omitted {
				sum += n
			}
			if sum != total {
				t.Errorf("%d lines are logged or counted, of %d", sum, total)
			}
			if n := len(h.limits.buckets); n > maxKeys+3 {
				t.Errorf("%d messages are kept", n)
			}
		})
	})
}
