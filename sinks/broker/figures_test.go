// This file tests what a sink is seen by.

package broker

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

// A broker is unavailable from the moment on that its sink has noticed until it takes events again;
// while it blocks, too, and once where both are so.
func TestAvailability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Availability
		began := time.Now()
		is := func(available, blocked bool, since, unavailable time.Duration, text string) {
			t.Helper()
			var st sinks.Status
			a.Report(&st)
			if st.Available != available || st.Blocked != blocked || st.Since.Sub(began) != since || st.Unavailable != unavailable || st.Error != text {
				t.Errorf("after %v: %+v", time.Since(began), st)
			}
		}
		var st sinks.Status
		if a.Report(&st); st.Available || !st.Since.IsZero() || st.Unavailable != 0 {
			t.Errorf("before all: %+v", st)
		}
		a.Lost(began, errors.New("refused"))
		time.Sleep(time.Second)
		is(false, false, 0, time.Second, "refused")
		a.Lost(time.Now(), errors.New("no route"))
		is(false, false, 0, time.Second, "no route")
		a.Back()
		time.Sleep(time.Second)
		is(true, false, time.Second, time.Second, "")
		a.Back() // changes nothing
		is(true, false, time.Second, time.Second, "")
		time.Sleep(time.Second)
		a.Lost(began.Add(2*time.Second), errors.New("timeout")) // which began a second ago
		is(false, false, 2*time.Second, 2*time.Second, "timeout")
		a.Back()
		a.Lost(began, errors.New("timeout")) // not before it was known to be available
		is(false, false, 3*time.Second, 2*time.Second, "timeout")
		a.Back()
		a.Block("low on memory")
		time.Sleep(time.Second)
		is(false, true, 3*time.Second, 3*time.Second, "blocked: low on memory")
		a.Lost(time.Now(), errors.New("EOF"))
		a.Block("")
		time.Sleep(time.Second)
		is(false, false, 3*time.Second, 4*time.Second, "EOF")
		a.Block("low on disk")
		a.Back()
		is(false, true, 3*time.Second, 4*time.Second, "blocked: low on disk")
		a.Block("")
		is(true, false, 5*time.Second, 4*time.Second, "")
	})
}

// A server's text is cut, and made UTF-8.
func TestAvailabilityError(t *testing.T) {
	var a Availability
	var st sinks.Status
	a.Lost(time.Now(), errors.New("\xff"+strings.Repeat("x", 1<<20)))
	if a.Report(&st); len(st.Error) > maxError+10 || !strings.HasPrefix(st.Error, "\ufffdxxx") {
		t.Errorf("%d bytes: %.20q", len(st.Error), st.Error)
	}
}

// An outage keeps the availability up, and its end says how many events waited at most.
func TestOutageAvailability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		f := NewFigures(nil, nil)
		waiting := 5
		o := &Outage{Log: slog.New(slog.NewTextHandler(&log, nil)), Broker: "Redis", Availability: &f.Availability, Waiting: func() int { return waiting }}
		f.Back()
		o.Tried = time.Now()
		time.Sleep(time.Second)
		o.Failed(errors.New("refused"))
		if st := f.Status(); st.Available || st.Unavailable != time.Second || st.Error != "refused" {
			t.Errorf("%+v", st)
		}
		waiting = 70
		o.Failed(errors.New("refused"))
		waiting = 90
		o.Wait()
		waiting = 3
		o.Over()
		if st := f.Status(); !st.Available || st.Unavailable != time.Second || st.Error != "" {
			t.Errorf("%+v", st)
		}
		if !strings.Contains(log.String(), "after=1s waiting=90\n") {
			t.Errorf("the log: %s", &log)
		}
		o.Failed(errors.New("refused")) // the next one begins anew
		o.Over()
		if !strings.Contains(log.String(), "waiting=3\n") {
			t.Errorf("the log: %s", &log)
		}
	})
}

// Batches are counted by their size, and what is sent again beside them; dead letters by their reason, and
// as lost where nothing keeps them.
func TestFigures(t *testing.T) {
	fails := false
	f := NewFigures([]string{"large", "odd"}, func(*sinks.Event, error) error {
		if fails {
			return errors.New("the disk is full")
		}
		return nil
	})
	for _, n := range []int{1, 2, 3, 1024, 1025} {
		f.Batch(n, 0)
	}
	f.Batch(8, 3)
	if n := testing.AllocsPerRun(100, func() { f.Batch(16, 0) }); n > 0 {
		t.Errorf("%v allocations for a batch", n)
	}
	ev := &sinks.Event{}
	f.DeadLetter(ev, "odd", errors.New("no JSON"))
	fails = true
	if all := f.DeadLetter(ev, "large", errors.New("no JSON")); all != 2 {
		t.Errorf("%d dead letters in all", all)
	}
	st := f.Status()
	if st.Batches != 6+101 || st.Retried != 1 || st.Resent != 3 || st.DeadLettered["odd"] != 1 || st.DeadLettered["large"] != 1 || st.Lost != 1 {
		t.Errorf("%+v", st)
	}
	want := []uint64{1, 1, 1, 1, 101, 0, 0, 0, 0, 0, 1, 1}
	for i, n := range st.BatchSizes.Counts {
		if n != want[i] {
			t.Errorf("bucket %d has %d batches, want %d", i, n, want[i])
		}
	}
	none := NewFigures([]string{"odd"}, nil)
	none.DeadLetter(ev, "odd", errors.New("no JSON"))
	if st := none.Status(); st.DeadLettered["odd"] != 1 || st.Lost != 1 {
		t.Errorf("without a place for dead letters: %+v", st)
	}
}
