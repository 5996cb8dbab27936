// This file tests what can be seen of the output.

package stdio

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

// A reader that does not read for 5 s counts as one that takes no events, from the beginning of the write
// on, until it reads.
func TestStatusOfStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := make(chan struct{})
		s := NewSink(writerFunc(func(b []byte) (int, error) {
			<-reads
			return len(b), nil
		}), JSON)
		began := time.Now()
		published := make(chan struct{})
		go func() {
			defer close(published)
			if err := s.Publish(t.Context(), []sinks.Event{event(1, "X", "1"), event(2, "X", "2")}, func(int) {}); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(5*time.Second - 1)
		if st := s.Status(); !st.Available || st.Unavailable != 0 || st.Pending != 2 || st.Oldest != 5*time.Second-1 || st.Published != 0 {
			t.Errorf("before 5 s: %+v", st)
		}
		time.Sleep(time.Second + 1)
		if st := s.Status(); st.Available || !st.Since.Equal(began) || st.Unavailable != 6*time.Second || st.Error == "" {
			t.Errorf("after 6 s: %+v", st)
		}
		close(reads)
		<-published
		if st := s.Status(); !st.Available || st.Since.Sub(began) != 6*time.Second || st.Unavailable != 6*time.Second || st.Error != "" || st.Pending != 0 || st.Oldest != 0 ||
			st.Published != 2 || st.Batches != 1 || st.BatchSizes.Counts[1] != 1 {
			t.Errorf("after it has read: %+v", st)
		}
	})
}

// An output that has failed is unavailable for good.
func TestStatusOfFailedOutput(t *testing.T) {
	s := NewSink(writerFunc(func([]byte) (int, error) { return 0, errors.New("no space left on device") }), JSON)
	if err := s.Publish(t.Context(), []sinks.Event{event(1, "X", "1")}, func(int) {}); err == nil {
		t.Fatal("it has not failed")
	}
	if st := s.Status(); st.Available || st.Error != "stdio: no space left on device" || st.Published != 0 || st.Pending != 0 {
		t.Errorf("%+v", st)
	}
}
