// This file tests the file against what crashes leave of it.

package file

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/internal/record"
	"sluice/resume"
	"sluice/resume/internal/storetest"
	"sluice/sinks"
)

// What cannot be read is no reason not to start: what comes before it counts, all of it
// is kept beside, and it is told.
func TestDamagedFiles(t *testing.T) {
	whole := appendCheckpoint([]byte(magic), 3, storetest.Checkpoint("a", 7))
	next := appendCheckpoint(nil, 4, storetest.Checkpoint("b", 8))
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
			f, err := Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
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
	f, err := Open(dir, storetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, storetest.Quiet)
	var used *InUseError
	if !errors.As(err, &used) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("the second is told %v", err)
	}
	if runtime.GOOS != "windows" && used.PID != os.Getpid() {
		t.Errorf("the holder is %d, want %d", used.PID, os.Getpid())
	}
	if want := fmt.Sprintf("by process %d;", os.Getpid()); runtime.GOOS != "windows" && !strings.Contains(err.Error(), want) {
		t.Errorf("the error %q does not name the holder", err)
	}
	if err := (&InUseError{Dir: dir}).Error(); !strings.Contains(err, "another process") {
		t.Errorf("without a holder: %s", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, storetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// Owner names the process that has a directory, and leaves the directory as it is.
func TestOwner(t *testing.T) {
	dir := t.TempDir()
	free := func(when string) {
		t.Helper()
		if _, err := Owner(dir); err == nil || !strings.Contains(err.Error(), "no process uses the directory "+dir) {
			t.Errorf("%s: %v", when, err)
		}
	}
	free("without a store")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it has left %v, %v", entries, err)
	}
	f, err := Open(dir, storetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := Owner(dir); err != nil || pid != os.Getpid() {
		t.Errorf("process %d, %v, want %d", pid, err, os.Getpid())
	}
	for _, text := range []string{"", "x", "12 13"} {
		if err := os.WriteFile(filepath.Join(dir, lockName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Owner(dir); err == nil || !strings.Contains(err.Error(), "is not known") {
			t.Errorf("of %q: %v", text, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	free("after its end")
	free("again")
	if f, err = Open(dir, storetest.Quiet); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// ReadFile says what it could not read, changes nothing, and needs no store.
func TestRead(t *testing.T) {
	whole := string(appendCheckpoint([]byte(magic), 3, storetest.Checkpoint("a", 7)))
	for _, tt := range []struct {
		name, text           string
		sessions, unreadable int
		wrong                string
	}{
		{"empty", "", 0, 0, ""},
		{"whole", whole, 1, 0, ""},
		{"torn", whole + "torn", 1, 1, ""},
		{"foreign", "x", 0, 0, "is no file of sessions"},
	} {
		dir := t.TempDir()
		if s, err := Read(dir); err != nil || len(s.Checkpoints) > 0 || len(s.Unreadable) > 0 {
			t.Errorf("without a file: %+v, %v", s, err)
		}
		path := filepath.Join(dir, fileName)
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Read(dir)
		if len(s.Checkpoints) != tt.sessions || len(s.Unreadable) != tt.unreadable {
			t.Errorf("%s: %+v", tt.name, s)
		}
		if (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), path+" "+tt.wrong) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.wrong)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != tt.text {
			t.Errorf("%s: it is %q now, %v", tt.name, text, err)
		}
	}
}

// FuzzParseFile reads anything as a file: it ends, and what it has found there can be written,
// and read again.
func FuzzParseFile(f *testing.F) {
	all := appendCheckpoint(nil, 3, storetest.Checkpoint("a", 7))
	all = appendAdvance(all, 3, storetest.Checkpoint("a", 9))
	all = appendStarts(all, resume.Starts{Count: 5, Until: storetest.Checkpoint("", 0).At})
	f.Add(all)
	f.Add(appendRemoval(all, 3))
	f.Add(all[:len(all)-3])
	f.Add(append(append(bytes.Clone(all), 0, 0, 1), all...))
	long := storetest.Checkpoint("a", 7)
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
			if len(text) > (resume.MaxSize+record.Head)*len(s.Checkpoints) {
				t.Fatalf("a record of shard %d is too long", shard)
			}
		}
		if s.Starts != (resume.Starts{}) {
			text = appendStarts(text, s.Starts)
		}
		if written, d := parseFile(text); !d.none() || !storetest.Same(s, written) {
			t.Fatalf("written and read: %+v, %+v, want %+v", written, d, s)
		}
	})
}

// A file that an earlier version has left is read: its bytes are what is written today.
func TestFileFormat(t *testing.T) {
	const want = "sluice sessions 1\n" +
		"\x00\x00\x00E\x9c\xe2\xb3S\x01\x03\xac\x02\x10\x81\x04\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\xfb\xbc\xd9\xf2\x9e4" +
		"\a\x80\xbc\xd9\xf2\x9e4\x00\x00\asession\fwss://resume\x05older\atoo old\x00\x00" +
		"\x00\x00\x00\nQ[v\x7f\x02\x03\xac\x02\xfb\xbc\xd9\xf2\x9e4" +
		"\x00\x00\x00\x02\x02\x1cHT\x03\x04" +
		"\x00\x00\x00\b9S\xc6 \x04\t\xfb\xbc\xd9\xf2\x9e4"
	c := resume.Checkpoint{Intents: 513, Bot: 1 << 63, At: time.UnixMilli(1_795_000_000_123)}
	c.Session = resume.Session{ID: "session", ResumeURL: "wss://resume", Seq: 300, Shards: 16}
	c.AddGap(sinks.Gap{Session: "older", Seq: 7, At: 1_795_000_000_000, Reason: "too old"})
	b := appendAdvance(appendCheckpoint([]byte(magic), 3, c), 3, c)
	if b = appendStarts(appendRemoval(b, 4), resume.Starts{Count: 9, Until: c.At}); string(b) != want {
		t.Errorf("%q", b)
	}
}
