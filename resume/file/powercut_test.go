// This file tests the file on a disk whose power is cut, that is full, and that fails.

package file

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"sluice/internal/disktest"
	"sluice/resume"
	"sluice/resume/internal/storetest"
)

// testDisk is a disk of package disktest as the file store uses it.
type testDisk struct{ *disktest.Disk }

func newDisk() testDisk { return testDisk{disktest.New()} }

func (d testDisk) crash(r *rand.Rand) testDisk          { return testDisk{d.Crash(r)} }
func (d testDisk) read(name string) ([]byte, error)     { return d.Read(name) }
func (d testDisk) create(name string) (diskFile, error) { return d.Create(name) }
func (d testDisk) extend(name string) (diskFile, error) { return d.Open(name) }
func (d testDisk) rename(from, to string) error         { return d.Rename(from, to) }
func (d testDisk) sync() error                          { return d.Sync() }

func (d testDisk) has(name string, f diskFile, size int) bool {
	file := f.(*disktest.File)
	return file.Is(name) && file.Size() == size
}

// The power is cut at every operation in turn, and the disk keeps of what was not
// synced now this, now that: each shard has its last checkpoint, or an older one of the
// same session, and a new session is never forgotten once Save has returned.
func TestPowerCut(t *testing.T) {
	for cut := 1; ; cut++ {
		r := rand.New(rand.NewPCG(uint64(cut), 7))
		d := newDisk()
		d.CutAfter(cut)
		saved := map[int][]resume.Checkpoint{} // all that were, and the one that may have been
		certain := map[int]int{}               // of saved, the first that may be there
		finished := false
		f, err := openFile(d, storetest.Quiet)
		for round := 0; err == nil; round++ {
			if finished = round == 60; finished {
				break
			}
			if round%20 == 19 { // the process ends well, and starts again
				f.Close()
				if f, err = openFile(d, storetest.Quiet); err != nil {
					break
				}
			}
			f.full = min(f.full, 2_000) // so that it is written anew many times
			changes := resume.State{Checkpoints: map[int]resume.Checkpoint{}}
			begun := map[int]bool{}
			for shard := range 3 {
				c := resume.Checkpoint{}
				if old := saved[shard]; len(old) > 0 {
					c = old[len(old)-1]
				}
				if c.ID == "" || r.IntN(10) == 0 {
					c = storetest.Checkpoint(fmt.Sprintf("%d-of-%d", round, shard), 0)
					begun[shard] = true
				}
				c.Seq++
				changes.Checkpoints[shard] = c
				saved[shard] = append(saved[shard], c)
			}
			if err = f.Save(t.Context(), changes); err == nil {
				for shard := range begun {
					certain[shard] = len(saved[shard]) - 1
				}
			}
		}
		for range 20 {
			left := d.crash(r)
			left.CutAfter(r.IntN(10)) // and once more while that is mended
			openFile(left, storetest.Quiet)
			after, err := openFile(left.crash(r), storetest.Quiet)
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			for shard, all := range saved {
				got := after.state.Checkpoints[shard]
				good := len(all) == 1 && got.ID == "" // its first Save was cut
				for _, c := range all[certain[shard]:] {
					good = good || got.ID == c.ID && got.Seq == c.Seq && got.Shards == c.Shards
				}
				if !good {
					t.Fatalf("cut at %d: shard %d has %+v, want one of\n%+v", cut, shard, got, all[certain[shard]:])
				}
			}
		}
		if finished {
			t.Logf("cut at each of %d operations", cut-1)
			return
		}
	}
}

// A full disk is logged, does no harm to what is there, and is over when there is room.
func TestDiskFull(t *testing.T) {
	d := newDisk()
	f, err := openFile(d, storetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	save := func(seq int64) error {
		return f.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{1: storetest.Checkpoint("a", seq)}})
	}
	stored := func() int64 {
		again, err := openFile(d.crash(nil), storetest.Quiet)
		if err != nil {
			t.Fatal(err)
		}
		return again.state.Checkpoints[1].Seq
	}
	if err := save(1); err != nil {
		t.Fatal(err)
	}
	d.SetRoom(10)
	for seq := int64(2); seq < 5; seq++ {
		if err := save(seq); err == nil {
			t.Error("a full disk takes everything")
		}
		if got := stored(); got != 1 {
			t.Errorf("seq %d is there after the disk was full, want 1", got)
		}
	}
	d.SetRoom(-1)
	if err := save(5); err != nil {
		t.Fatal(err)
	}
	if got := stored(); got != 5 {
		t.Errorf("seq %d, want 5", got)
	}
}

// A disk that is full when the process starts: what is stored counts, and Save writes when there is room.
func TestOpenOnFullDisk(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		d := newDisk()
		f, err := openFile(d, storetest.Quiet)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{1: storetest.Checkpoint("a", 1)}}); err != nil {
			t.Fatal(err)
		}
		if damaged { // and cannot be kept beside, either
			text, _ := d.Read(fileName)
			d.Put(fileName, append(text, "torn"...))
		}
		d.SetRoom(10)
		var log bytes.Buffer
		if f, err = openFile(d, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if got := storetest.Loaded(t, f).Checkpoints[1]; got.ID != "a" || !strings.Contains(log.String(), "not persisted") {
			t.Errorf("loaded %+v, logged %q", got, &log)
		}
		next := resume.State{Checkpoints: map[int]resume.Checkpoint{2: storetest.Checkpoint("b", 2)}}
		if err := f.Save(t.Context(), next); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("saved on a full disk: %v", err)
		}
		d.SetRoom(-1)
		if err := f.Save(t.Context(), resume.State{}); err != nil {
			t.Fatal(err)
		}
		if f, err = openFile(d, storetest.Quiet); err != nil || len(storetest.Loaded(t, f).Checkpoints) != 2 {
			t.Errorf("persisted %+v, %v", f, err)
		}
	}
	d := newDisk()
	d.CutAfter(0)
	if _, err := openFile(d, storetest.Quiet); !errors.Is(err, disktest.ErrCut) {
		t.Errorf("another error: %v", err)
	}
}
