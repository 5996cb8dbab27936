// This file tests what can be seen of the keeper, on fake time.

package resume_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/resume"
	"sluice/resume/internal/storetest"
)

// What is stored is as old as the last save that had all, also where nothing has changed: a bot without
// events has no old checkpoint. While the store takes nothing it gets older.
func TestKeeperStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, e := new(failing), new(shards)
		k := &resume.Keeper{Store: store, Bot: 7, Log: storetest.Quiet}
		if st := k.Status(); st != (resume.KeeperStatus{}) {
			t.Errorf("before Load: %+v", st)
		}
		store.loads = errors.New("no route")
		loaded := make(chan error)
		go func() { loaded <- k.Load(t.Context()) }()
		time.Sleep(time.Second / 4)
		if st := k.Status(); st.Available || !strings.HasSuffix(st.Error, "no route") || st.Failures != 1 || time.Since(st.Failing) != time.Second/4 {
			t.Errorf("while nothing can be loaded: %+v", st)
		}
		store.lock.Lock()
		store.loads = nil
		store.lock.Unlock()
		if err := <-loaded; err != nil {
			t.Fatal(err)
		}
		if st := k.Status(); !st.Available || st.Error != "" || !st.Failing.IsZero() || !st.Saved.IsZero() || !st.Current.Equal(time.Now()) || st.Failures != 1 {
			t.Errorf("after Load: %+v", st)
		}

		save := func(seq int64) error {
			e.set(map[int]resume.Session{0: {ID: "a", Seq: seq, Shards: 2}, 1: {ID: "b", Seq: 1, Shards: 2}}, resume.Starts{})
			return e.save(t.Context(), k)
		}
		if err := save(1); err != nil {
			t.Fatal(err)
		}
		saved := time.Now()
		for range 8 { // the last is between two looks into the store
			time.Sleep(time.Second)
			if err := save(1); err != nil { // nothing has changed
				t.Fatal(err)
			}
		}
		if st := k.Status(); !st.Saved.Equal(saved) || !st.Current.Equal(time.Now()) || st.Pending != 0 || !st.Available {
			t.Errorf("with nothing to save: %+v", st)
		}
		current := time.Now()

		store.fail(errors.New("\xffdisk full" + strings.Repeat(".", 1000)))
		for i := range 3 {
			time.Sleep(time.Second)
			if err := save(int64(2 + i)); err == nil {
				t.Fatal("it is saved")
			}
		}
		st := k.Status()
		if st.Available || !strings.HasPrefix(st.Error, "\ufffddisk full.") || len(st.Error) > 510 || st.Failures != 4 || st.Pending != 1 ||
			!st.Current.Equal(current) || !st.Saved.Equal(saved) || !st.Failing.Equal(current.Add(time.Second)) {
			t.Errorf("while nothing can be saved: %+v", st)
		}
		store.fail(nil)
		time.Sleep(time.Second)
		if err := save(5); err != nil {
			t.Fatal(err)
		}
		if st := k.Status(); !st.Available || st.Error != "" || st.Pending != 0 || !st.Saved.Equal(time.Now()) || !st.Current.Equal(time.Now()) || st.Failures != 4 {
			t.Errorf("after it works again: %+v", st)
		}
	})
}
