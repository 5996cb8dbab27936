// This file tests the file against what crashes leave of it.

package resume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"sluice/engine"
)

var quiet = slog.New(slog.DiscardHandler)

// memDisk is a disk that knows what would survive a power cut. After so many
// operations it fails, as a disk does whose power is cut.
type memDisk struct {
	files  map[string]*memFile // as the process sees them
	stored map[string]*memFile // as the directory is on the disk
	left   int                 // operations until the cut
	full   bool                // there is no room for more
}

type memFile struct {
	text   []byte
	synced int // bytes that are on the disk
}

var errCut = errors.New("the power is cut")

func newMemDisk() *memDisk {
	return &memDisk{files: map[string]*memFile{}, stored: map[string]*memFile{}, left: 1 << 30}
}

func (d *memDisk) do() error {
	if d.left == 0 {
		return errCut
	}
	d.left--
	return nil
}

func (d *memDisk) read(name string) ([]byte, error) {
	f, ok := d.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(f.text), nil
}

func (d *memDisk) create(name string) (diskFile, error) {
	if err := d.do(); err != nil {
		return nil, err
	}
	f := new(memFile)
	d.files[name] = f
	return &memHandle{d, f}, nil
}

func (d *memDisk) extend(name string) (diskFile, error) { return &memHandle{d, d.files[name]}, nil }

func (d *memDisk) rename(from, to string) error {
	if err := d.do(); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *memDisk) has(name string, f diskFile, size int) bool {
	is := f.(*memHandle).f
	return d.files[name] == is && len(is.text) == size
}

func (d *memDisk) sync() error {
	if err := d.do(); err != nil {
		return err
	}
	d.stored = maps.Clone(d.files)
	return nil
}

// crash returns what a power cut leaves: the directory as it was synced, or as it was
// seen, and of each file what was synced and perhaps some of what was not.
func (d *memDisk) crash(r *rand.Rand) *memDisk {
	names := d.stored
	if r.IntN(2) == 0 {
		names = d.files
	}
	next := newMemDisk()
	for name, f := range names {
		kept := f.synced + r.IntN(len(f.text)-f.synced+1)
		text := bytes.Clone(f.text[:kept])
		if r.IntN(4) == 0 { // the length is on the disk, the text is not
			text = append(bytes.Clone(f.text[:f.synced]), make([]byte, kept-f.synced)...)
		}
		next.files[name] = &memFile{text, len(text)}
	}
	next.stored = maps.Clone(next.files)
	return next
}

type memHandle struct {
	d *memDisk
	f *memFile
}

func (h *memHandle) Write(b []byte) (int, error) {
	n := len(b)
	err := h.d.do()
	if err != nil || h.d.full {
		n /= 2 // some of it may be written
	}
	h.f.text = append(h.f.text, b[:n]...)
	if err == nil && h.d.full {
		err = error(syscall.ENOSPC)
	}
	return n, err
}

func (h *memHandle) Sync() error {
	if err := h.d.do(); err != nil {
		return err
	}
	h.f.synced = len(h.f.text)
	return nil
}

func (h *memHandle) Close() error { return nil }

// The power is cut at every operation in turn, and the disk keeps of what was not
// synced now this, now that: each shard has its last checkpoint, or an older one of the
// same session, and a new session is never forgotten once Save has returned.
func TestPowerCut(t *testing.T) {
	for cut := 1; ; cut++ {
		r := rand.New(rand.NewPCG(uint64(cut), 7))
		d := newMemDisk()
		d.left = cut
		saved := map[int][]Checkpoint{} // all that were, and the one that may have been
		certain := map[int]int{}        // of saved, the first that may be there
		finished := false
		f, err := openFile(d, quiet)
		for round := 0; err == nil; round++ {
			if finished = round == 60; finished {
				break
			}
			if round%20 == 19 { // the process ends well, and starts again
				f.Close()
				if f, err = openFile(d, quiet); err != nil {
					break
				}
			}
			f.full = min(f.full, 2_000) // so that it is written anew many times
			changes := State{Checkpoints: map[int]Checkpoint{}}
			begun := map[int]bool{}
			for shard := range 3 {
				c := Checkpoint{}
				if old := saved[shard]; len(old) > 0 {
					c = old[len(old)-1]
				}
				if c.ID == "" || r.IntN(10) == 0 {
					c = checkpoint(fmt.Sprintf("%d-of-%d", round, shard), 0)
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
			left.left = r.IntN(10) // and once more while that is mended
			openFile(left, quiet)
			after, err := openFile(left.crash(r), quiet)
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

// A full disk is told, does no harm to what is there, and is over when there is room.
func TestDiskFull(t *testing.T) {
	d := newMemDisk()
	f, err := openFile(d, quiet)
	if err != nil {
		t.Fatal(err)
	}
	save := func(seq int64) error {
		return f.Save(t.Context(), State{Checkpoints: map[int]Checkpoint{1: checkpoint("a", seq)}})
	}
	stored := func() int64 {
		again, err := openFile(d.crash(rand.New(rand.NewPCG(1, 1))), quiet)
		if err != nil {
			t.Fatal(err)
		}
		return again.state.Checkpoints[1].Seq
	}
	if err := save(1); err != nil {
		t.Fatal(err)
	}
	d.full = true
	for seq := int64(2); seq < 5; seq++ {
		if err := save(seq); err == nil {
			t.Error("a full disk takes everything")
		}
		if got := stored(); got != 1 {
			t.Errorf("seq %d is there after the disk was full, want 1", got)
		}
	}
	d.full = false
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
		d := newMemDisk()
		f, err := openFile(d, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Save(t.Context(), State{Checkpoints: map[int]Checkpoint{1: checkpoint("a", 1)}}); err != nil {
			t.Fatal(err)
		}
		if damaged { // and cannot be kept beside, either
			d.files[fileName].text = append(d.files[fileName].text, "torn"...)
		}
		d.full = true
		var log bytes.Buffer
		if f, err = openFile(d, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if got := loaded(t, f).Checkpoints[1]; got.ID != "a" || !strings.Contains(log.String(), "not stored") {
			t.Errorf("loaded %+v, logged %q", got, &log)
		}
		next := State{Checkpoints: map[int]Checkpoint{2: checkpoint("b", 2)}}
		if err := f.Save(t.Context(), next); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("saved on a full disk: %v", err)
		}
		d.full = false
		if err := f.Save(t.Context(), State{}); err != nil {
			t.Fatal(err)
		}
		if f, err = openFile(d, quiet); err != nil || len(loaded(t, f).Checkpoints) != 2 {
			t.Errorf("stored %+v, %v", f, err)
		}
	}
	d := newMemDisk()
	d.left = 0
	if _, err := openFile(d, quiet); !errors.Is(err, errCut) {
		t.Errorf("another error: %v", err)
	}
}

// What cannot be read is no reason not to start: what comes before it counts, all of it
// is kept beside, and it is told.
func TestDamagedFiles(t *testing.T) {
	whole := appendCheckpoint([]byte(magic), 3, checkpoint("a", 7))
	next := appendCheckpoint(nil, 4, checkpoint("b", 8))
	flipped := append(bytes.Clone(whole), next...)
	flipped[len(flipped)-5] ^= 1
	for _, tt := range []struct {
		name, text string
		sessions   int
		told       string
	}{
		{"empty", "", 0, ""},
		{"whole", string(whole), 1, ""},
		{"torn", string(whole) + string(next[:10]), 1, "cannot be read"},
		{"zeros", string(whole) + string(make([]byte, 100)), 1, "cannot be read"},
		{"flipped bit", string(flipped), 1, "cannot be read"},
		{"foreign", "{\"sessions\": []}", 0, "none of ours"},
		{"part of the first line", magic[:5], 0, "none of ours"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, fileName), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			f, err := OpenFile(dir, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if s, _ := f.Load(t.Context()); len(s.Checkpoints) != tt.sessions {
				t.Errorf("%d sessions, want %d", len(s.Checkpoints), tt.sessions)
			}
			if !strings.Contains(log.String(), tt.told) || tt.told == "" && log.Len() > 0 {
				t.Errorf("told %q, want %q", log.String(), tt.told)
			}
			kept, _ := os.ReadFile(filepath.Join(dir, badName))
			if tt.told != "" && string(kept) != tt.text {
				t.Errorf("kept %q", kept)
			}
		})
	}
}

// A directory is for one process.
func TestFileInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "of the gateway")
	f, err := OpenFile(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenFile(dir, quiet)
	var used *InUseError
	if !errors.As(err, &used) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("the second is told %v", err)
	}
	if runtime.GOOS != "windows" && used.PID != os.Getpid() {
		t.Errorf("the holder is %d, want %d", used.PID, os.Getpid())
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenFile(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// FuzzParseFile reads anything as a file: it ends, and what it has found there can be written,
// and read again.
func FuzzParseFile(f *testing.F) {
	all := appendCheckpoint(nil, 3, checkpoint("a", 7))
	all = appendAdvance(all, 3, checkpoint("a", 9))
	all = appendStarts(all, engine.Starts{Count: 5, Until: checkpoint("", 0).At})
	f.Add(all)
	f.Add(appendRemoval(all, 3))
	f.Add(all[:len(all)-3])
	f.Add(append(append(bytes.Clone(all), 0, 0, 1), all...))
	long := checkpoint("a", 7)
	long.ResumeURL = strings.Repeat("u", 5_000)
	f.Add(appendCheckpoint(all, 4, long))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, d := parseFile(b)
		if d.bytes < 0 || d.bytes > len(b) {
			t.Fatalf("%d bytes of %d are no record", d.bytes, len(b))
		}
		var text []byte
		for shard, c := range s.Checkpoints {
			text = appendCheckpoint(text, shard, c)
			if len(text) > (maxRecord+recordHead)*len(s.Checkpoints) {
				t.Fatalf("a record of shard %d is too long", shard)
			}
		}
		if s.Starts != (engine.Starts{}) {
			text = appendStarts(text, s.Starts)
		}
		if written, d := parseFile(text); !d.none() || !same(s, written) {
			t.Fatalf("written and read: %+v, %+v, want %+v", written, d, s)
		}
	})
}
