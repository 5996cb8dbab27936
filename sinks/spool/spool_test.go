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
	"syscall"
	"testing"
	"time"

	"sluice/engine"
)

// broker is an inner sink that takes events while it is up, and acknowledges them later.
type broker struct {
	mu    sync.Mutex
	up    bool
	held  []engine.Event
	acked func(int)
	got   []int64 // the events' numbers, as acknowledged
	wrong error
	err   error // of Publish
}

func (b *broker) Publish(ctx context.Context, events []engine.Event, acked func(int)) error {
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
func numbered(n int64) engine.Event {
	return engine.Event{
		Shard: int(n % 7), Session: fmt.Sprintf("session %d", n%7), Seq: n, Began: n % 3 << 60, Gap: n%100 == 0, Type: []byte(fmt.Sprintf("EVENT_%d", n%5)),
		Data: bytes.Repeat([]byte(strconv.FormatInt(n, 10)), 1+int(n%60)),
	}
}

// check returns the number of an event.
func check(ev *engine.Event) (int64, error) {
	want := numbered(ev.Seq)
	if ev.Shard != want.Shard || ev.Session != want.Session || ev.Gap != want.Gap || ev.Began != want.Began || !bytes.Equal(ev.Type, want.Type) || !bytes.Equal(ev.Data, want.Data) {
		return ev.Seq, fmt.Errorf("event %d is not what was sent: %+v", ev.Seq, ev)
	}
	return ev.Seq, nil
}

// trial is a spool and what is sent through it.
type trial struct {
	t     *testing.T
	sink  *Sink
	inner *broker
	log   *bytes.Buffer
	full  atomic.Bool
	sent  int64
	acked atomic.Int64
}

func try(t *testing.T, o Options) *trial {
	t.Helper()
	tr := &trial{t: t, inner: &broker{up: true}, log: new(bytes.Buffer)}
	if o.Directory == "" {
		o.Directory = t.TempDir()
	}
	o.Log = slog.New(slog.NewTextHandler(tr.log, nil))
	o.Full = tr.full.Load
	var err error
	if tr.sink, err = Open(o, tr.inner); err != nil {
		t.Fatal(err)
	}
	tr.sink.most = 256 << 10
	t.Cleanup(func() { tr.sink.Close() })
	return tr
}

// publish sends n events in batches of random size.
func (tr *trial) publish(n int) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), time.Minute)
	defer cancel()
	for n > 0 {
		var batch []engine.Event
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

// settled waits until the broker has all, and checks that it has it once and in order.
func (tr *trial) settled() {
	tr.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		tr.inner.turn()
		tr.inner.mu.Lock()
		n := len(tr.inner.got)
		tr.inner.mu.Unlock()
		if int64(n) >= tr.sent && tr.acked.Load() == tr.sent && !tr.sink.Stats().Spooling {
			break
		}
		if time.Now().After(end) {
			tr.t.Fatalf("%d of %d have arrived, %d acknowledged; %+v\n%s", n, tr.sent, tr.acked.Load(), tr.sink.Stats(), tr.log)
		}
	}
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
	names, _ := filepath.Glob(filepath.Join(tr.sink.o.Directory, "*"+suffix))
	return names
}

func TestPassesThrough(t *testing.T) {
	tr := try(t, Options{})
	tr.publish(20_000)
	tr.settled()
	if s := tr.sink.Stats(); s.Spooled > 0 || len(tr.files()) > 0 {
		t.Errorf("something is on the disk: %+v, %v", s, tr.files())
	}
}

func TestOutages(t *testing.T) {
	tr := try(t, Options{SegmentBytes: 256 << 10})
	for range 6 {
		tr.publish(3_000)
		tr.inner.set(false)
		tr.full.Store(true)
		tr.publish(10_000)
		if tr.acked.Load() != tr.sent {
			t.Fatalf("%d of %d are acknowledged while they go to the disk", tr.acked.Load(), tr.sent)
		}
		if len(tr.files()) < 3 {
			t.Errorf("segments: %v", tr.files())
		}
		tr.full.Store(false)
		tr.inner.set(true)
		tr.publish(rand.IntN(3_000)) // while it is read
		if rand.IntN(2) == 0 {
			tr.settled()
			if len(tr.files()) > 0 || tr.sink.Stats().Bytes != 0 {
				t.Errorf("left: %v, %+v", tr.files(), tr.sink.Stats())
			}
		}
	}
	tr.settled()
}

// Without Full memory is used up when nothing has been acknowledged for a second.
func TestFullByItself(t *testing.T) {
	tr := try(t, Options{})
	tr.sink.o.Full = nil
	tr.inner.set(false)
	tr.publish(60_000)
	if !tr.sink.Stats().Spooling {
		t.Error("nothing goes to the disk")
	}
	tr.inner.set(true)
	tr.settled()
}

// On the way out nobody waits for the broker: the next process delivers.
func TestEnding(t *testing.T) {
	tr := try(t, Options{Ending: func() bool { return true }})
	tr.inner.set(false)
	tr.publish(100)
	for end := time.Now().Add(time.Minute); tr.acked.Load() < tr.sent; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not acknowledged")
		}
	}
	dir := tr.sink.o.Directory
	tr.sink.Close()
	next := try(t, Options{Directory: dir})
	next.sent = tr.sent
	next.acked.Store(tr.sent)
	next.settled()
}

func TestBound(t *testing.T) {
	const bound = 4 << 20
	tr := try(t, Options{MaxBytes: bound, SegmentBytes: 1 << 20})
	tr.inner.set(false)
	tr.full.Store(true)
	published := make(chan struct{})
	go func() { defer close(published); tr.publish(120_000) }()
	for range 30 {
		time.Sleep(20 * time.Millisecond)
		var size int64
		for _, name := range tr.files() {
			if info, err := os.Stat(name); err == nil {
				size += info.Size()
			}
		}
		if size > bound+2<<20 {
			t.Fatalf("%d bytes on the disk", size)
		}
	}
	tr.inner.set(true)
	<-published
	tr.settled()
	if !strings.Contains(tr.log.String(), "its bound") {
		t.Errorf("not told:\n%s", tr.log)
	}
}

// fullDisk is a file for which there is room for so many bytes.
type fullDisk struct {
	file
	left *atomic.Int64
}

func (f fullDisk) Write(b []byte) (int, error) {
	if n := f.left.Add(-int64(len(b))); n < 0 {
		part := max(0, int(n)+len(b))
		f.file.Write(b[:part])
		return part, syscall.ENOSPC
	}
	return f.file.Write(b)
}

func TestDiskFull(t *testing.T) {
	tr := try(t, Options{SegmentBytes: 256 << 10})
	var room atomic.Int64
	room.Store(1 << 20)
	tr.sink.log.open = func(name string) (file, error) {
		f, err := openAppend(name)
		return fullDisk{f, &room}, err
	}
	tr.inner.set(false)
	tr.full.Store(true)
	published := make(chan struct{})
	go func() { defer close(published); tr.publish(60_000) }()
	time.Sleep(1500 * time.Millisecond)
	select {
	case <-published:
		t.Error("all was taken")
	default:
	}
	room.Store(1 << 40)
	<-published
	tr.inner.set(true)
	tr.settled()
	for _, want := range []string{"no space left", "takes events again"} {
		if !strings.Contains(tr.log.String(), want) {
			t.Errorf("%q is not told:\n%s", want, tr.log)
		}
	}
}

// What is acknowledged is there after a crash at any moment; some of it may come again, in
// order. A torn record at the end is cut off.
func TestCrash(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		tr := try(t, Options{SegmentBytes: 64 << 10})
		tr.inner.set(false)
		tr.full.Store(true)
		published := make(chan struct{})
		n := 6_000 + r.IntN(8_000)
		go func() { defer close(published); tr.publish(n) }()
		if seed%2 == 0 {
			<-published
		}
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		tr.inner.set(seed%3 != 0)
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)

		dir := t.TempDir()
		tr.sink.mu.Lock()
		acked := tr.acked.Load()
		err := os.CopyFS(dir, os.DirFS(tr.sink.o.Directory))
		last := tr.sink.log.end()
		tr.sink.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		tr.inner.mu.Lock()
		had := int64(len(tr.inner.got)) // at least what the position says
		tr.inner.mu.Unlock()
		tr.inner.set(true)
		<-published
		name := filepath.Join(dir, filepath.Base(tr.sink.log.name(last.segment)))
		if f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			ev := numbered(acked + 1)
			torn := appendRecord(nil, &ev)
			f.Write(torn[:r.IntN(len(torn))])
			f.Close()
		}
		next := try(t, Options{Directory: dir, SegmentBytes: 64 << 10})
		next.inner.set(true)
		for end := time.Now().Add(time.Minute); next.sink.Stats().Spooling; time.Sleep(time.Millisecond) {
			next.inner.turn()
			if time.Now().After(end) {
				t.Fatalf("%+v", next.sink.Stats())
			}
		}
		got := next.inner.got
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
		case len(got) > 0 && (got[0] > had+1 || got[len(got)-1] < acked):
			t.Fatalf("seed %d: %d arrived before the crash, %d to %d after it, of %d that are acknowledged", seed, had, got[0], got[len(got)-1], acked)
		}
		tr.sink.Close()
	}
}

// Damage in the middle loses what follows in its segment, which is kept, and nothing else.
func TestDamage(t *testing.T) {
	tr := try(t, Options{SegmentBytes: 64 << 10})
	tr.inner.set(false)
	tr.full.Store(true)
	tr.publish(8_000)
	dir := tr.sink.o.Directory
	tr.sink.Close()
	names := tr.files()
	if len(names) < 4 {
		t.Fatalf("segments: %v", names)
	}
	text, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(names[1], text, 0o600); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(names[2], []byte("something else"), 0o600)
	os.WriteFile(filepath.Join(dir, "notes"+suffix), nil, 0o600)
	next := try(t, Options{Directory: dir})
	for end := time.Now().Add(time.Minute); next.sink.Stats().Spooling; time.Sleep(time.Millisecond) {
		next.inner.turn()
		if time.Now().After(end) {
			t.Fatalf("%+v", next.sink.Stats())
		}
	}
	got := next.inner.got
	lost := 0
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			t.Fatalf("%d after %d", got[i], got[i-1])
		}
		if got[i] > got[i-1]+1 {
			lost++
		}
	}
	if got[0] != 1 || got[len(got)-1] != tr.sent || lost < 1 || lost > 2 || next.inner.wrong != nil {
		t.Errorf("%d to %d with %d gaps, %v", got[0], got[len(got)-1], lost, next.inner.wrong)
	}
	for _, want := range []string{filepath.Base(names[1]) + ".bad", filepath.Base(names[2]) + ".bad", "notes" + suffix} {
		if !strings.Contains(next.log.String(), want) {
			t.Errorf("%s is not told:\n%s", want, next.log)
		}
	}
	if kept, _ := os.ReadFile(names[1] + ".bad"); !bytes.Equal(kept, text) {
		t.Error("the damaged segment is not kept")
	}
}

func TestSecondProcess(t *testing.T) {
	tr := try(t, Options{})
	_, err := Open(tr.sink.o, new(broker))
	if err == nil || !errors.As(err, new(*InUseError)) || !strings.Contains(err.Error(), tr.sink.o.Directory) {
		t.Errorf("a second one: %v", err)
	}
}

// A failure of the broker's sink for good is one of the spool's.
func TestInnerFails(t *testing.T) {
	tr := try(t, Options{})
	final := errors.New("nobody reads")
	tr.inner.mu.Lock()
	tr.inner.err = final
	tr.inner.mu.Unlock()
	for end := time.Now().Add(time.Minute); ; {
		ev := numbered(1)
		err := tr.sink.Publish(t.Context(), []engine.Event{ev}, func(int) {})
		if errors.Is(err, final) {
			return
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("Publish: %v", err)
		}
	}
}

// echo acknowledges at once.
type echo struct{}

func (echo) Publish(_ context.Context, events []engine.Event, acked func(int)) error {
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
	var batch []engine.Event
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

// Whatever a segment holds, it is opened, and what was written to it is what is read.
func FuzzSegment(f *testing.F) {
	var whole []byte
	whole = appendSegmentHead(whole, 0)
	for n := range int64(3) {
		ev := numbered(n + 1)
		whole = appendRecord(whole, &ev)
	}
	f.Add(whole, whole)
	f.Add(whole[:len(whole)-1], whole[:segmentHead])
	f.Add([]byte{}, []byte(magic))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		dir := t.TempDir()
		for i, text := range [][]byte{first, second} {
			if len(text) >= segmentHead {
				text = append(appendSegmentHead(nil, uint64(i)), text[segmentHead:]...)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016x%s", i, suffix)), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, at, err := openSegments(dir, 1<<20, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		c := cursor{l: l, at: at}
		defer c.close()
		for {
			b := new(batch)
			ok, err := c.read(b, l.list, 2)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			for i := range b.events {
				again, _, err := parseRecord(appendRecord(nil, &b.events[i]))
				if err != nil || again.Seq != b.events[i].Seq || !bytes.Equal(again.Data, b.events[i].Data) {
					t.Fatalf("%+v comes back as %+v, %v", b.events[i], again, err)
				}
			}
		}
	})
}
