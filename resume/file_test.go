// This file tests the file against what crashes leave of it.

package resume

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sluice/engine"
)

var quiet = slog.New(slog.DiscardHandler)

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
