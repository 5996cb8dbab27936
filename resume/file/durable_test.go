// This file tests when the file is synced, and written anew, by the operations of its disk.

package file

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/disktest"
	"sluice/resume"
	"sluice/resume/internal/storetest"
)

// after returns what the file store has after a power cut that loses all that it may.
func after(t *testing.T, d testDisk) resume.State {
	t.Helper()
	f, err := openFile(d.crash(nil), storetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	return storetest.Loaded(t, f)
}

// count returns how many operations of a kind there were.
func count(d testDisk, kind disktest.Kind) (n int) {
	for _, op := range d.Ops() {
		if op.Kind == kind {
			n++
		}
	}
	return n
}

// A session that has begun, one that has ended, and the Identifies that were counted are on the disk
// once Save has returned: with less, the next process resumes what is over, or starts too many sessions.
func TestSaveSyncs(t *testing.T) {
	starts := resume.Starts{Count: 3, Until: time.UnixMilli(1_795_000_000_000)}
	for name, change := range map[string]resume.State{
		"a new session":            {Checkpoints: map[int]resume.Checkpoint{2: storetest.Checkpoint("b", 1)}},
		"another session":          {Checkpoints: map[int]resume.Checkpoint{1: storetest.Checkpoint("b", 1)}},
		"another address":          {Checkpoints: map[int]resume.Checkpoint{1: {Session: resume.Session{ID: "a", Seq: 6}}}},
		"a removal":                {Checkpoints: map[int]resume.Checkpoint{1: {}}},
		"the count of Identifies":  {Starts: starts},
		"the end of their day too": {Starts: resume.Starts{Until: starts.Until}},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			f, err := openFile(d, storetest.Quiet)
			if err != nil {
				t.Fatal(err)
			}
			var want resume.State
			for _, s := range []resume.State{{Checkpoints: map[int]resume.Checkpoint{1: storetest.Checkpoint("a", 1)}}, change} {
				want.Apply(s)
				if err := f.Save(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			if got := after(t, d); !storetest.Same(got, want) {
				t.Errorf("%s: after a power cut %+v, want %+v", name, got, want)
			}
		})
	}
}

// How far a session is goes to the disk once in a second, and when the store is closed, not with each Save.
func TestAdvanceSyncsOnceInASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		f, err := openFile(d, storetest.Quiet)
		if err != nil {
			t.Fatal(err)
		}
		seq := int64(0)
		save := func() {
			t.Helper()
			seq++
			if err := f.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{1: storetest.Checkpoint("a", seq)}}); err != nil {
				t.Fatal(err)
			}
		}
		save()
		before, creates := count(d, disktest.Sync), count(d, disktest.Create)
		for range 9 {
			time.Sleep(100 * time.Millisecond)
			save()
		}
		if n := count(d, disktest.Sync) - before; n != 0 || after(t, d).Checkpoints[1].Seq != 1 {
			t.Errorf("%d syncs in 900 ms", n)
		}
		time.Sleep(100 * time.Millisecond)
		save()
		if n := count(d, disktest.Sync) - before; n != 1 || after(t, d).Checkpoints[1].Seq != seq {
			t.Errorf("%d syncs in a second; after a power cut %+v, want seq %d", n, after(t, d), seq)
		}
		time.Sleep(time.Second)
		if err := f.Save(t.Context(), resume.State{}); err != nil {
			t.Fatal(err)
		}
		if n := count(d, disktest.Sync) - before; n != 1 {
			t.Errorf("%d syncs of what is on the disk", n-1)
		}
		save()
		save()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got := after(t, d).Checkpoints[1].Seq; got != seq {
			t.Errorf("closed: seq %d is on the disk, want %d", got, seq)
		}
		if n := count(d, disktest.Create) - creates; n > 0 {
			t.Errorf("a small file was written anew %d times", n)
		}
	})
}

// What a failed sync has not written is not on the disk because a later one does not fail: it is
// written again, in another file.
func TestFailedSyncIsWrittenAgain(t *testing.T) {
	for name, kind := range map[string]disktest.Kind{"sync": disktest.Sync, "write": disktest.Write} {
		d, broken := newDisk(), errors.New("input/output error")
		f, err := openFile(d, storetest.Quiet)
		if err != nil {
			t.Fatal(err)
		}
		d.Fail(func(op disktest.Op) error {
			if op.Kind == kind && op.Name == fileName {
				return broken
			}
			return nil
		})
		changes := resume.State{Checkpoints: map[int]resume.Checkpoint{1: storetest.Checkpoint("a", 1)}, Starts: resume.Starts{Count: 1}}
		if err := f.Save(t.Context(), changes); !errors.Is(err, broken) {
			t.Errorf("%s: saved: %v", name, err)
		}
		d.Fail(nil)
		changes.Checkpoints[1] = storetest.Checkpoint("a", 2)
		changes.Starts.Count = 2
		if err := f.Save(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
		if got := after(t, d); !storetest.Same(got, changes) {
			t.Errorf("%s: after a power cut %+v, want %+v", name, got, changes)
		}
	}
}

// The file does not grow without end, and is not written anew with each Save.
func TestCompacted(t *testing.T) {
	d := newDisk()
	f, err := openFile(d, storetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	const shards, saves = 400, 280
	changes := resume.State{Checkpoints: map[int]resume.Checkpoint{}}
	for shard := range shards {
		c := storetest.Checkpoint(fmt.Sprint("session-", shard), 1<<40)
		c.Shards = shards
		c.ResumeURL = "wss://" + strings.Repeat("a", 1000)
		changes.Checkpoints[shard] = c
	}
	most := 0
	for range saves {
		for shard, c := range changes.Checkpoints {
			c.Seq++
			changes.Checkpoints[shard] = c
		}
		if err := f.Save(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
		file, err := d.Open(fileName)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, file.Size())
	}
	whole := 0
	for shard, c := range changes.Checkpoints {
		whole += len(appendCheckpoint(nil, shard, c))
	}
	if most > 4*whole+minGrowth {
		t.Errorf("the file had %d bytes, of what has %d", most, whole)
	}
	if n := count(d, disktest.Create); n < 2 || n > 3 {
		t.Errorf("written anew %d times in %d saves of %d bytes", n, saves, most)
	}
	f.Close()
	if got := after(t, d); !storetest.Same(got, changes) {
		t.Error("after a power cut the sessions are not those that were saved")
	}
}
