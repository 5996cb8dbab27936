// This file tests what can be seen of the spool, on fake time.

package spool

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

// reporting is a broker that reports.
type reporting struct{ broker }

func (*reporting) Status() sinks.Status {
	return sinks.Status{Published: 17, Error: "refused", Pending: 1000, Oldest: time.Hour}
}

// one publishes one event a second, n times.
func (tr *trial) one(n int) {
	for range n {
		tr.publish(1)
		time.Sleep(time.Second)
	}
}

// What waits is counted in memory and on the disk, and as old as its oldest event; what the inner sink
// reports is passed on.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{SegmentBytes: 4 << 10})
		is := func(pending int, oldest time.Duration, want Status) {
			t.Helper()
			synctest.Wait()
			want.MaxBytes, want.Bytes = 1<<30, tr.sink.Spool().Bytes
			if got := tr.sink.Spool(); got != want || want.Spooling != (got.Bytes > 0) {
				t.Errorf("the disk: %+v, want %+v", got, want)
			}
			if st := tr.sink.Status(); st.Pending != pending || st.Oldest != oldest {
				t.Errorf("%d events pending, the oldest for %v, want %d for %v", st.Pending, st.Oldest, pending, oldest)
			}
		}
		is(0, 0, Status{})
		tr.inner.set(false)
		tr.one(10)
		is(10, 10*time.Second, Status{})
		tr.full.Store(true)
		time.Sleep(fullPoll)
		is(10, 10*time.Second+fullPoll, Status{Spooling: true, Events: 10, Spooled: 10, Oldest: 10*time.Second + fullPoll})
		tr.one(5)
		is(15, 15*time.Second+fullPoll, Status{Spooling: true, Events: 15, Spooled: 15, Oldest: 15*time.Second + fullPoll})
		tr.full.Store(false)

		tr.inner.mu.Lock() // 12 of them
		tr.inner.held = tr.inner.held[12:]
		acked := tr.inner.acked
		tr.inner.got = append(tr.inner.got, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
		tr.inner.mu.Unlock()
		acked(12)
		is(3, 3*time.Second, Status{Spooling: true, Events: 3, Spooled: 15, Oldest: 3 * time.Second})
		tr.inner.set(true)
		tr.settled()
		is(0, 0, Status{Spooled: 15})
		if !strings.Contains(tr.log.String(), "has all events of the spool\" events=15 after=5s") {
			t.Errorf("the log: %s", tr.log)
		}
	})
}

// What the inner sink reports is passed on, but for what waits.
func TestStatusOfInnerSink(t *testing.T) {
	s, err := open(Options{MaxBytes: 1, SegmentBytes: 1, Log: slog.New(slog.DiscardHandler)}, newDisk(), &reporting{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st := s.Status(); st.Published != 17 || st.Error != "refused" || st.Pending != 0 || st.Oldest != 0 {
		t.Errorf("%+v", st)
	}
}

// A disk that takes nothing is counted and named, until it does.
func TestStatusOfFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{})
		tr.disk.SetRoom(0)
		tr.inner.set(false)
		tr.publish(10)
		tr.full.Store(true)
		time.Sleep(fullPoll)
		synctest.Wait()
		failing := time.Now()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := tr.sink.Spool(); st.Spooling || st.Events != 0 || !st.Failing.Equal(failing) || st.Failures != 4 || !strings.Contains(st.Error, "no space left") {
			t.Errorf("while it is full: %+v", st)
		}
		if st := tr.sink.Status(); st.Pending != 10 {
			t.Errorf("%d events pending", st.Pending)
		}
		tr.disk.SetRoom(-1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := tr.sink.Spool(); !st.Spooling || st.Events != 10 || !st.Failing.IsZero() || st.Error != "" || st.Failures != 4 {
			t.Errorf("with room: %+v", st)
		}
		if !strings.Contains(tr.log.String(), "waiting=10\n") {
			t.Errorf("the log: %s", tr.log)
		}
		tr.inner.set(true)
		tr.settled()
	})
}

// What an earlier process has left is as old as its file, and is not counted as this one's.
func TestStatusOfLeft(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		tr := try(t, Options{Directory: dir})
		tr.inner.set(false)
		tr.full.Store(true)
		tr.publish(500)
		tr.sink.Close()
		names, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
		began := time.Now()
		for _, name := range names {
			if err := os.Chtimes(name, time.Time{}, began); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		next := try(t, Options{Directory: dir})
		next.sent = tr.sent
		next.acked.Store(tr.sent)
		next.inner.set(false)
		next.publish(20)
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := next.sink.Spool(); !st.Spooling || st.Events != 20 || st.Oldest != time.Hour+time.Minute || st.Spooled != 20 {
			t.Errorf("%+v", st)
		}
		next.inner.set(true)
		next.settled()
		if st := next.sink.Spool(); st.Events != 0 || st.Oldest != 0 || st.Spooling {
			t.Errorf("after all is delivered: %+v", st)
		}
		if !strings.Contains(next.log.String(), "events=520") {
			t.Errorf("the log: %s", next.log)
		}
	})
}

// The ages stay few, and the oldest is right to a second, or a hundredth.
func TestAges(t *testing.T) {
	var a ages
	began := time.Unix(0, 0)
	const hours = 24 * 14
	for minute := range 60 * hours { // an event each
		a.add(began.Add(time.Duration(minute)*time.Minute), 1)
	}
	if len(a.list) > 1000 || a.events != 60*hours {
		t.Errorf("%d ages of %d events", len(a.list), a.events)
	}
	for minute := range 60 * hours {
		since := a.list[0].at.Sub(began)
		came := time.Duration(minute) * time.Minute
		if since > came || float64(came-since) > float64(time.Duration(minute+1)*time.Minute)/50 {
			t.Fatalf("the oldest came after %v, and counts as come after %v", came, since)
		}
		a.remove(1)
	}
	if a.events != 0 || len(a.list) != 0 {
		t.Errorf("left: %+v", a)
	}
}
