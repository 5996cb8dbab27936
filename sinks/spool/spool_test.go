// This file tests the sink before one that is now there and now not.

package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

// broker is an inner sink that takes events while it is up, and acknowledges them later.
type broker struct {
	mu    sync.Mutex
	up    bool
	held  []sinks.Event
	acked func(int)
	got   []int64 // the events' numbers, as acknowledged
	wrong error
	err   error // of Publish
}

func (b *broker) Publish(ctx context.Context, events []sinks.Event, acked func(int)) error {
	for {
		b.mu.Lock()
		if b.err != nil {
			defer b.mu.Unlock()
			return b.err
		}
		if len(b.held) < 2000 {
			b.held = append(b.held, events...)
			b.acked = acked
			b.mu.Unlock()
			b.turn()
			return nil
		}
		b.mu.Unlock()
		b.turn()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// turn acknowledges what is held, some at a time, if the broker is up.
func (b *broker) turn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.up && len(b.held) > 0 {
		n := 1 + rand.IntN(min(len(b.held), 300))
		for i := range b.held[:n] {
			number, err := check(&b.held[i])
			if err != nil {
				b.wrong = err
			}
			b.got = append(b.got, number)
		}
		b.held = b.held[n:]
		b.acked(n)
	}
}

func (b *broker) set(up bool) {
	b.mu.Lock()
	b.up = up
	b.mu.Unlock()
	b.turn()
}

func (b *broker) Close() error { return nil }

// numbered returns event n, in which everything follows from n.
func numbered(n int64) sinks.Event {
	return sinks.Event{
		Shard: int(n % 7), Session: fmt.Sprintf("session %d", n%7), Seq: n, Began: n % 3 << 60, Gap: n%100 == 0, Type: []byte(fmt.Sprintf("EVENT_%d", n%5)),
		Data: bytes.Repeat([]byte(strconv.FormatInt(n, 10)), 1+int(n%60)),
	}
}

// check returns the number of an event.
func check(ev *sinks.Event) (int64, error) {
	want := numbered(ev.Seq)
	if ev.Shard != want.Shard || ev.Session != want.Session || ev.Gap != want.Gap || ev.Began != want.Began || !bytes.Equal(ev.Type, want.Type) || !bytes.Equal(ev.Data, want.Data) {
		return ev.Seq, fmt.Errorf("event %d is not what was sent: %+v", ev.Seq, ev)
	}
	return ev.Seq, nil
}

// logbook keeps what is logged, by any goroutine.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// trial is a spool and what is sent through it. It runs on fake time, over a disk in memory if it has no directory.
type trial struct {
	t     *testing.T
	sink  *Sink
	disk  testDisk
	inner *broker
	log   *logbook
	full  atomic.Bool
	sent  int64
	acked atomic.Int64
}

func try(t *testing.T, o Options) *trial { return tryDisk(t, o, newDisk()) }

func tryDisk(t *testing.T, o Options, d testDisk) *trial {
	return tryBefore(t, o, d, &broker{up: true})
}

func tryBefore(t *testing.T, o Options, d testDisk, inner *broker) *trial {
	t.Helper()
	tr := &trial{t: t, disk: d, inner: inner, log: new(logbook)}
	o.Log = slog.New(slog.NewTextHandler(tr.log, nil))
	o.Full = tr.full.Load
	var err error
	if o.Directory != "" {
		tr.sink, err = Open(o, tr.inner)
	} else {
		o.Directory = "in memory"
		if o.MaxBytes == 0 {
			o.MaxBytes = 1 << 30
		}
		if o.SegmentBytes == 0 {
			o.SegmentBytes = 16 << 10
		}
		tr.sink, err = open(o, d, tr.inner)
	}
	if err != nil {
		t.Fatal(err)
	}
	tr.sink.most = 16 << 10
	t.Cleanup(func() { tr.sink.Close() })
	return tr
}

// publish sends n events in batches of random size.
func (tr *trial) publish(n int) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), time.Hour)
	defer cancel()
	for n > 0 {
		var batch []sinks.Event
		for range min(n, 1+rand.IntN(200)) {
			tr.sent++
			batch = append(batch, numbered(tr.sent))
		}
		n -= len(batch)
		if err := tr.sink.Publish(ctx, batch, func(n int) { tr.acked.Add(int64(n)) }); err != nil {
			tr.t.Fatal(err)
		}
	}
}

// drained waits until nothing is left on the disk, and returns what the broker has.
func (tr *trial) drained() []int64 {
	tr.t.Helper()
	for range 10_000 {
		tr.inner.turn()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		tr.inner.mu.Lock()
		n := len(tr.inner.got)
		tr.inner.mu.Unlock()
		if int64(n) >= tr.sent && tr.acked.Load() == tr.sent && !tr.sink.Spool().Spooling {
			return tr.inner.got
		}
	}
	tr.t.Fatalf("%d of %d have arrived, %d acknowledged; %+v\n%s", len(tr.inner.got), tr.sent, tr.acked.Load(), tr.sink.Spool(), tr.log)
	return nil
}

// settled waits until the broker has all, and checks that it has it once and in order.
func (tr *trial) settled() {
	tr.t.Helper()
	tr.drained()
	tr.inner.mu.Lock()
	defer tr.inner.mu.Unlock()
	if tr.inner.wrong != nil {
		tr.t.Fatal(tr.inner.wrong)
	}
	for i, n := range tr.inner.got {
		if n != int64(i)+1 {
			tr.t.Fatalf("event %d came in place of %d", n, i+1)
		}
	}
}

// files returns the names of the segments.
func (tr *trial) files() []string {
	segments, _ := tr.disk.segmentFiles(tr.t)
	return segments
}

func TestPassesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{})
		tr.publish(5_000)
		tr.settled()
		if s := tr.sink.Spool(); s.Spooled > 0 || len(tr.files()) > 0 {
			t.Errorf("something is on the disk: %+v, %v", s, tr.files())
		}
	})
}

func TestOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{SegmentBytes: 32 << 10})
		for range 6 {
			tr.publish(500)
			tr.inner.set(false)
			tr.full.Store(true)
			tr.publish(2_000)
			if tr.acked.Load() != tr.sent {
				t.Fatalf("%d of %d are acknowledged while they go to the disk", tr.acked.Load(), tr.sent)
			}
			if len(tr.files()) < 3 {
				t.Errorf("segments: %v", tr.files())
			}
			tr.full.Store(false)
			tr.inner.set(true)
			tr.publish(rand.IntN(1_000)) // while it is read
			if rand.IntN(2) == 0 {
				tr.settled()
				if len(tr.files()) > 0 || tr.sink.Spool().Bytes != 0 {
					t.Errorf("left: %v, %+v", tr.files(), tr.sink.Spool())
				}
			}
		}
		tr.settled()
	})
}

// The same in a directory of the operating system, over the end of a process.
func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by the spool")
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{Directory: dir, SegmentBytes: 32 << 10})
		tr.inner.set(false)
		tr.full.Store(true)
		tr.publish(2_000)
		if err := tr.sink.Close(); err != nil {
			t.Fatal(err)
		}
		names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil || len(names) < 3 {
			t.Fatalf("segments: %v, %v", names, err)
		}
		f, err := os.OpenFile(names[len(names)-1], os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("torn")
		f.Close()
		next := try(t, Options{Directory: dir})
		if kept, err := os.ReadFile(filepath.Join(dir, tailName)); err != nil || string(kept) != "torn" {
			t.Errorf("kept %q, %v", kept, err)
		}
		next.sent = tr.sent
		next.acked.Store(tr.sent)
		next.settled()
		if names, _ := filepath.Glob(filepath.Join(dir, "*"+suffix)); len(names) > 0 {
			t.Errorf("left: %v", names)
		}
	})
}

// Without Full memory is used up when nothing has been acknowledged for a second.
func TestFullByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{})
		tr.sink.o.Full = nil
		tr.inner.set(false)
		began := time.Now()
		tr.publish(2_000)
		if !tr.sink.Spool().Spooling {
			t.Error("nothing goes to the disk")
		}
		if d := time.Since(began); d < fullAfter || d > fullAfter+2*fullPoll {
			t.Errorf("it went to the disk after %v", d)
		}
		tr.inner.set(true)
		tr.settled()
	})
}

// On the way out nobody waits for the broker: the next process delivers.
func TestEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{Ending: func() bool { return true }})
		tr.inner.set(false)
		tr.publish(100)
		time.Sleep(fullAfter - fullPoll)
		if n := tr.acked.Load(); n > 0 {
			t.Errorf("%d acknowledged at once, which the broker may still take", n)
		}
		time.Sleep(3 * fullPoll)
		if n := tr.acked.Load(); n != tr.sent {
			t.Fatalf("%d of %d are acknowledged", n, tr.sent)
		}
		tr.sink.Close()
		next := tryDisk(t, Options{}, tr.disk.copied())
		next.sent = tr.sent
		next.acked.Store(tr.sent)
		next.settled()
	})
}

// publishing publishes in the background.
func (tr *trial) publishing(n int) (published chan struct{}) {
	published = make(chan struct{})
	go func() { defer close(published); tr.publish(n) }()
	return published
}

func isOver(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// With so many bytes on the disk as it may have, no more is taken until some are delivered.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 256 << 10
		tr := try(t, Options{MaxBytes: bound, SegmentBytes: 32 << 10})
		tr.inner.set(false)
		tr.full.Store(true)
		published := tr.publishing(6_000)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		var size int64
		for _, name := range tr.files() {
			text, _ := tr.disk.Read(name)
			size += int64(len(text))
		}
		if size > bound || size < bound*3/4 || size != tr.sink.Spool().Bytes || isOver(published) {
			t.Errorf("%d bytes on the disk, %+v; all is taken: %v", size, tr.sink.Spool(), isOver(published))
		}
		if n := strings.Count(tr.log.String(), "its bound"); n != 1 {
			t.Errorf("logged %d times in 10 s:\n%s", n, tr.log)
		}
		time.Sleep(5 * logEvery)
		if n := strings.Count(tr.log.String(), "its bound"); n < 5 || n > 7 {
			t.Errorf("logged %d times in 5 minutes", n)
		}
		tr.inner.set(true)
		<-published
		tr.settled()
		if !strings.Contains(tr.log.String(), "available again") {
			t.Errorf("the end is not logged:\n%s", tr.log)
		}
	})
}

// A record that is larger than the bound is taken when it is alone.
func TestLargerThanBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{SegmentBytes: 1 << 10})
		tr.sink.mu.Lock()
		tr.sink.o.MaxBytes = 1000
		tr.sink.mu.Unlock()
		tr.inner.set(false)
		tr.full.Store(true)
		published := tr.publishing(500)
		time.Sleep(10 * time.Second)
		tr.inner.set(true)
		<-published
		tr.settled()
	})
}

// A full disk is no end: the events wait, nothing is lost, and it goes on when there is room.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{SegmentBytes: 32 << 10})
		tr.disk.SetRoom(100 << 10)
		tr.inner.set(false)
		tr.full.Store(true)
		published := tr.publishing(5_000)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if isOver(published) {
			t.Error("all was taken")
		}
		acked, ops := tr.acked.Load(), len(tr.disk.Ops())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(tr.disk.Ops()) - ops; n > 10*10 {
			t.Errorf("%d operations in 10 s of a full disk", n)
		}
		if n := tr.acked.Load(); n != acked || n == 0 {
			t.Errorf("%d are acknowledged, then %d", acked, n)
		}
		tr.disk.SetRoom(-1)
		<-published
		tr.inner.set(true)
		tr.settled()
		for _, want := range []string{"no space left", "available again"} {
			if strings.Count(tr.log.String(), want) != 1 {
				t.Errorf("%q is not logged once:\n%s", want, tr.log)
			}
		}
	})
}

// The disk fails while memory goes to it: what was written then is not written again.
func TestDiskFailsAtFirst(t *testing.T) {
	for room := 0; room < 24<<10; room += 3 << 10 {
		synctest.Test(t, func(t *testing.T) {
			tr := try(t, Options{SegmentBytes: 4 << 10})
			tr.disk.SetRoom(room)
			tr.inner.set(false)
			tr.full.Store(true)
			published := tr.publishing(1_000)
			time.Sleep(5 * time.Second)
			ops := len(tr.disk.Ops())
			time.Sleep(10 * time.Second)
			if n := len(tr.disk.Ops()) - ops; n == 0 || n > 10*10 {
				t.Errorf("%d operations in 10 s of a full disk", n)
			}
			tr.disk.SetRoom(-1)
			<-published
			if n := tr.acked.Load(); n != tr.sent {
				t.Errorf("%d of %d are acknowledged", n, tr.sent)
			}
			left := tryDisk(t, Options{}, testDisk{tr.disk.Crash(nil)})
			left.sent = tr.sent
			left.acked.Store(tr.sent)
			left.settled()
			tr.inner.set(true)
			tr.settled()
		})
	}
}

// A disk that takes nothing is of no account once the broker takes events again.
func TestBrokerIsBackBeforeTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{})
		tr.disk.SetRoom(0)
		for range 2 {
			tr.inner.set(false)
			tr.full.Store(true)
			tr.publish(10)
			time.Sleep(time.Second)
			tr.inner.set(true)
			tr.full.Store(false)
			tr.settled()
			time.Sleep(time.Hour)
		}
		for _, want := range []string{"unavailable; buffering events", "available again", "for=0s"} {
			if n := strings.Count(tr.log.String(), want); n != 2 {
				t.Errorf("%q is logged %d times for two failures:\n%s", want, n, tr.log)
			}
		}
	})
}

// A disk that cannot be read is tried again; nothing is lost.
func TestReadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{})
		tr.inner.set(false)
		tr.full.Store(true)
		tr.publish(3_000)
		files := tr.files()
		name := files[len(files)-2]
		if err := tr.disk.Rename(name, "elsewhere"); err != nil {
			t.Fatal(err)
		}
		tr.inner.set(true)
		time.Sleep(10 * time.Second)
		if n := strings.Count(tr.log.String(), "cannot be read"); n < 8 || n > 12 {
			t.Errorf("logged %d times in 10 s", n)
		}
		if err := tr.disk.Rename("elsewhere", name); err != nil {
			t.Fatal(err)
		}
		tr.settled()
	})
}

// What is acknowledged is there after a crash at any moment, of the process or of the machine; some of
// it may be redelivered, in order.
func TestCrash(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			tr := try(t, Options{SegmentBytes: 8 << 10})
			tr.inner.set(false)
			tr.full.Store(true)
			published := tr.publishing(1_000 + r.IntN(1_000))
			if seed%2 == 0 {
				<-published
			}
			time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
			tr.inner.set(seed%3 != 0)
			time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)

			acked := tr.acked.Load()
			left := tr.disk.copied()
			if seed%4 > 1 {
				left = tr.disk.crash(r)
			}
			tr.inner.mu.Lock()
			had := int64(len(tr.inner.got)) // at least what the position says
			tr.inner.mu.Unlock()
			tr.inner.set(true)
			<-published
			next := tryDisk(t, Options{SegmentBytes: 8 << 10}, left)
			got := next.drained()
			if next.inner.wrong != nil {
				t.Fatal(next.inner.wrong)
			}
			for i, n := range got {
				if n != got[0]+int64(i) {
					t.Fatalf("seed %d: %d after %d", seed, n, got[i-1])
				}
			}
			switch {
			case len(got) == 0 && acked > had:
				t.Fatalf("seed %d: %d are acknowledged, %d arrived, and nothing is on the disk", seed, acked, had)
			case len(got) > 0 && (got[0] > had+1 || got[len(got)-1] < acked && acked > had):
				t.Fatalf("seed %d: %d arrived before the crash, %d to %d after it, of %d that are acknowledged", seed, had, got[0], got[len(got)-1], acked)
			}
		})
	}
}

// Damage in the middle loses what follows in its segment, which is kept, and nothing else.
func TestDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{SegmentBytes: 16 << 10})
		tr.inner.set(false)
		tr.full.Store(true)
		tr.publish(3_000)
		tr.sink.Close()
		d := tr.disk.copied()
		names := tr.files()
		if len(names) < 5 {
			t.Fatalf("segments: %v", names)
		}
		text, err := d.Read(names[1])
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		d.Put(names[1], text)
		d.Put(names[2], []byte("something else"))
		short, _ := d.Read(names[3])
		d.Put(names[3], short[:segmentHead])
		d.Put("notes"+suffix, nil)
		next := tryDisk(t, Options{}, d)
		got := next.drained()
		lost := 0
		for i := 1; i < len(got); i++ {
			if got[i] <= got[i-1] {
				t.Fatalf("%d after %d", got[i], got[i-1])
			}
			if got[i] > got[i-1]+1 {
				lost++
			}
		}
		if got[0] != 1 || got[len(got)-1] != tr.sent || lost != 1 || next.inner.wrong != nil {
			t.Errorf("%d to %d with %d gaps, %v", got[0], got[len(got)-1], lost, next.inner.wrong)
		}
		for _, want := range []string{names[1] + ".bad", names[2] + ".bad", "notes" + suffix} {
			if !strings.Contains(next.log.String(), want) {
				t.Errorf("%s is not logged:\n%s", want, next.log)
			}
		}
		if kept, _ := d.Read(names[1] + ".bad"); !bytes.Equal(kept, text) {
			t.Error("the damaged segment is not kept")
		}
		if segments, _ := d.segmentFiles(t); len(segments) > 0 {
			t.Errorf("left: %v", segments)
		}
	})
}

func TestSecondProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{Directory: t.TempDir()})
		_, err := Open(tr.sink.o, new(broker))
		if err == nil || !errors.As(err, new(*InUseError)) || !strings.Contains(err.Error(), tr.sink.o.Directory) {
			t.Errorf("a second one: %v", err)
		}
	})
}

// A failure of the broker's sink for good is one of the spool's.
func TestInnerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{})
		final := errors.New("nobody reads")
		tr.inner.mu.Lock()
		tr.inner.err = final
		tr.inner.mu.Unlock()
		publish := func() error {
			return tr.sink.Publish(t.Context(), []sinks.Event{numbered(1)}, func(int) {})
		}
		if err := publish(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := publish(); !errors.Is(err, final) {
			t.Errorf("Publish: %v", err)
		}
	})
}

// echo acknowledges at once.
type echo struct{}

func (echo) Publish(_ context.Context, events []sinks.Event, acked func(int)) error {
	acked(len(events))
	return nil
}
func (echo) Close() error { return nil }

func TestAllocs(t *testing.T) {
	s, err := Open(Options{Directory: t.TempDir(), Log: slog.New(slog.DiscardHandler)}, echo{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var batch []sinks.Event
	for n := range int64(256) {
		batch = append(batch, numbered(n+1))
	}
	done := make(chan struct{}, 1)
	left := 0
	acked := func(n int) {
		if left -= n; left == 0 {
			done <- struct{}{}
		}
	}
	publish := func() {
		left = len(batch)
		if err := s.Publish(t.Context(), batch, acked); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	for range 50 {
		publish()
	}
	if n := testing.AllocsPerRun(200, publish); n > 2 {
		t.Errorf("%v allocations for 256 events", n)
	}
}
