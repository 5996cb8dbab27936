// This file tests that the file holds nothing that would not be read, and what is read of one
// that does.

package file

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/record"
	"sluice/resume"
	"sluice/resume/internal/storetest"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	storetest.Test(t, func(t *testing.T) resume.Store {
		f, err := Open(dir, storetest.Quiet)
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}

func TestFileHostile(t *testing.T) {
	dirs := map[string]string{}
	storetest.Hostile(t, func(t *testing.T) resume.Store {
		if dirs[t.Name()] == "" {
			dirs[t.Name()] = t.TempDir()
		}
		var log bytes.Buffer
		f, err := Open(dirs[t.Name()], slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || log.Len() > 0 {
			t.Fatalf("%v, logged %q", err, log.String())
		}
		return f
	})
}

// What an earlier version has written, or a bad disk, costs its shard alone, and those behind
// it count.
func TestFileUnreadable(t *testing.T) {
	long := storetest.Checkpoint("a", 7)
	long.ID = strings.Repeat("x", 5_000)
	negative, high := storetest.Checkpoint("a", 7), storetest.Checkpoint("a", 7)
	negative.Seq, high.Seq = -1, 9e18
	good := storetest.Checkpoint("good", 9)
	flipped := appendCheckpoint(nil, 3, storetest.Checkpoint("new", 1))
	flipped[len(flipped)-5] ^= 1
	before := slices.Clip(appendCheckpoint(nil, 3, storetest.Checkpoint("old", 5)))
	for _, tt := range []struct {
		name string
		text []byte // before a good record of shard 4
		want map[int]resume.Checkpoint
	}{
		{"a long session id", appendCheckpoint(before, 3, long), map[int]resume.Checkpoint{4: good}},
		{"a negative seq", appendCheckpoint(before, 3, negative), map[int]resume.Checkpoint{4: good}},
		{"an advance to a negative seq", appendAdvance(before, 3, negative), map[int]resume.Checkpoint{4: good}},
		{"a seq of 9e18", appendCheckpoint(before, 3, high), map[int]resume.Checkpoint{4: good}},
		{"an advance to a seq of 9e18", appendAdvance(before, 3, high), map[int]resume.Checkpoint{4: good}},
		{"an id with a space", appendCheckpoint(before, 3, storetest.Checkpoint("a b", 7)), map[int]resume.Checkpoint{4: good}},
		{"an advance of what was refused", appendAdvance(appendCheckpoint(before, 3, long), 3, good), map[int]resume.Checkpoint{4: good}},
		{"a kind that is not known", record.End(append(record.Begin(bytes.Clone(before)), 9, 3), len(before)), map[int]resume.Checkpoint{4: good}},
		{"starts that are damaged", appendNumbers(bytes.Clone(before), recordStarts, 1<<63, 5), map[int]resume.Checkpoint{3: storetest.Checkpoint("old", 5), 4: good}},
		{"a flipped bit", append(bytes.Clone(before), flipped...), map[int]resume.Checkpoint{3: storetest.Checkpoint("old", 5), 4: good}},
		// What began the session that goes on is lost: its seq is none of the one before.
		{"a flipped bit, and an advance", appendAdvance(append(bytes.Clone(before), flipped...), 3, storetest.Checkpoint("new", 900)),
			map[int]resume.Checkpoint{3: storetest.Checkpoint("old", 5), 4: good}},
		{"zeros", append(bytes.Clone(before), make([]byte, 4096)...), map[int]resume.Checkpoint{3: storetest.Checkpoint("old", 5), 4: good}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			text := appendCheckpoint(append([]byte(magic), tt.text...), 4, good)
			if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
				t.Fatal(err)
			}
			listed, err := Read(dir)
			if err != nil || !storetest.Same(listed, resume.State{Checkpoints: tt.want}) || len(listed.Unreadable) == 0 {
				t.Errorf("read %+v, %v", listed, err)
			}
			for round := range 2 {
				var log bytes.Buffer
				f, err := Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
				if err != nil {
					t.Fatal(err)
				}
				if got := storetest.Loaded(t, f); !storetest.Same(got, resume.State{Checkpoints: tt.want}) {
					t.Errorf("loaded\n%+v, want\n%+v", got, tt.want)
				}
				if told := strings.Contains(log.String(), "the others count"); told != (round == 0) {
					t.Errorf("start %d: logged %q", round, log.String())
				}
				f.Close()
			}
			if kept, _ := os.ReadFile(filepath.Join(dir, badName)); !bytes.Equal(kept, text) {
				t.Errorf("kept %d bytes of %d", len(kept), len(text))
			}
		})
	}
}

// Bytes that look like records everywhere do not keep a start waiting.
func TestFileScanIsBounded(t *testing.T) {
	like := bytes.Repeat([]byte{0, 0, 15, 255, 1, 1, 1, 1, 1, 1}, 1<<20)
	budget := scanBudget
	if n := nextRecord(like, &budget); n != len(like) || budget > 0 {
		t.Errorf("%d bytes of %d are skipped, and %d of the budget are left", n, len(like), budget)
	}
}
