// This file puts package disktest under the log.

package spool

import (
	"bytes"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"testing"

	"sluice/internal/disktest"
	"sluice/sinks"
)

// testDisk is a disk of package disktest as the log uses it.
type testDisk struct{ *disktest.Disk }

func newDisk() testDisk { return testDisk{disktest.New()} }

func (d testDisk) crash(r *rand.Rand) testDisk      { return testDisk{d.Crash(r)} }
func (d testDisk) copied() testDisk                 { return testDisk{d.Copy()} }
func (d testDisk) entries() ([]fs.DirEntry, error)  { return d.ReadDir() }
func (d testDisk) read(name string) ([]byte, error) { return d.Read(name) }
func (d testDisk) create(name string) (file, error) { return d.CreateNew(name) }
func (d testDisk) open(name string) (file, error)   { return d.Open(name) }
func (d testDisk) remove(name string) error         { return d.Remove(name) }
func (d testDisk) sync() error                      { return d.Sync() }

func (d testDisk) write(name string, text []byte) error {
	f, err := d.Create(name)
	if err == nil {
		_, err = f.Write(text)
	}
	return err
}

func (d testDisk) edit(name string) (file, error) {
	if !d.Has(name) {
		return d.Create(name)
	}
	return d.Open(name)
}

// segmentFiles returns the segments of a disk, and those that were put aside.
func (d testDisk) segmentFiles(t *testing.T) (segments, bad []string) {
	t.Helper()
	entries, err := d.ReadDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case len(name) == 16+len(suffix):
			segments = append(segments, name)
		case name != positionName && name != tailName:
			bad = append(bad, name)
		}
	}
	return segments, bad
}

// logged is a log over a disk, and what was done with it.
type logged struct {
	t      *testing.T
	d      testDisk
	told   *bytes.Buffer
	log    *segments
	cursor cursor
	acked  int64 // the events 1 to acked are written
	had    int64 // and 1 to had delivered
}

// openLog opens the log of a disk as Open does.
func openLog(t *testing.T, d testDisk) *logged {
	t.Helper()
	l, err := tryLog(t, d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tryLog(t *testing.T, d testDisk) (*logged, error) {
	l := &logged{t: t, d: d, told: new(bytes.Buffer)}
	log, at, err := openSegments(d, 700, slog.New(slog.NewTextHandler(l.told, nil)))
	if err != nil {
		return nil, err
	}
	l.log, l.cursor = log, cursor{l: log, at: at}
	if at == log.end() || len(log.list) == 0 {
		log.delivered(at)
	}
	return l, nil
}

// append writes the next n events, or what an earlier one has not.
func (l *logged) append(n int) error {
	var events []sinks.Event
	for i := range int64(n) {
		events = append(events, numbered(l.acked+1+i))
	}
	l.log.encode(events)
	if err := l.log.append(); err != nil {
		return err
	}
	l.acked += int64(n)
	return nil
}

// next reads up to max events.
func (l *logged) next(max int) []int64 {
	l.t.Helper()
	b := new(batch)
	if ok, err := l.cursor.read(b, l.log.list, max); err != nil || !ok {
		if err != nil {
			l.t.Fatal(err)
		}
		return nil
	}
	var numbers []int64
	for i := range b.events {
		number, err := check(&b.events[i])
		if err != nil {
			l.t.Fatal(err)
		}
		numbers = append(numbers, number)
	}
	return numbers
}

// deliver reads up to max events, which then are delivered.
func (l *logged) deliver(max int) {
	l.t.Helper()
	if got := l.next(max); len(got) > 0 {
		l.had = got[len(got)-1]
		l.log.delivered(l.cursor.at)
	}
}

// must is deliver where there is something.
func (l *logged) must(max int) {
	l.t.Helper()
	had := l.had
	if l.deliver(max); l.had == had {
		l.t.Fatalf("nothing is read behind %d of %d", l.had, l.acked)
	}
}

// rest reads all that is left.
func (l *logged) rest() (numbers []int64) {
	l.t.Helper()
	for {
		got := l.next(3)
		if len(got) == 0 {
			return numbers
		}
		numbers = append(numbers, got...)
	}
}

// outlived checks that what is left on a disk has all that is written and not delivered, in order, and
// before it some of what is delivered at most.
func (l *logged) outlived(d testDisk) {
	l.t.Helper()
	next := openLog(l.t, d)
	got := next.rest()
	for i, n := range got {
		if n != got[0]+int64(i) {
			l.t.Errorf("%d in place of %d is left", n, got[0]+int64(i))
			return
		}
	}
	switch {
	case len(got) == 0 && l.acked > l.had:
		l.t.Errorf("nothing is left of %d to %d", l.had+1, l.acked)
	case len(got) > 0 && (got[0] > l.had+1 || got[len(got)-1] < l.acked):
		l.t.Errorf("%d to %d are left, of %d to %d", got[0], got[len(got)-1], l.had+1, l.acked)
	}
	next.undamaged()
}

// undamaged checks that nothing was put aside as damaged in the middle.
func (l *logged) undamaged() {
	l.t.Helper()
	if _, bad := l.d.segmentFiles(l.t); len(bad) > 0 || bytes.Contains(l.told.Bytes(), []byte("damaged")) {
		l.t.Errorf("damaged: %v, logged %s", bad, l.told)
	}
}
