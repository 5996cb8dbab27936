//go:build unix

// This file tests a file that is lost while a process goes on.

package file

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/resume"
	"sluice/resume/internal/storetest"
)

// A file that is gone, or another, is written again: by the last save, and within some seconds for a
// process that is killed. The directory is locked as before.
func TestFileLost(t *testing.T) {
	for name, lose := range map[string]func(dir string) error{
		"the directory": os.RemoveAll,
		"the file":      func(dir string) error { return os.Remove(filepath.Join(dir, fileName)) },
		"the lock":      func(dir string) error { return os.Remove(filepath.Join(dir, lockName)) },
		"another file": func(dir string) error {
			path := filepath.Join(dir, fileName)
			return errors.Join(os.WriteFile(path+".other", []byte(magic), 0o600), os.Rename(path+".other", path))
		},
		"its text": func(dir string) error { return os.Truncate(filepath.Join(dir, fileName), 0) },
	} {
		for _, end := range []bool{true, false} {
			dir := filepath.Join(t.TempDir(), "state")
			sessions, starts := storetest.Sessions(100)
			var log bytes.Buffer
			f, err := Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			k := &resume.Keeper{Store: storetest.Unclosed{Store: f}, Bot: 7, Log: storetest.Quiet}
			if err := k.Save(t.Context(), maps.All(sessions), starts); err != nil {
				t.Fatal(err)
			}
			if err := lose(dir); err != nil {
				t.Fatal(err)
			}
			if end {
				err = k.Close(t.Context(), maps.All(sessions), starts)
			} else {
				starts.Count++ // or the keeper asks the store in some seconds
				err = k.Save(t.Context(), maps.All(sessions), starts)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Read(dir); err != nil || len(got.Checkpoints) != 100 || got.Starts.Count != starts.Count {
				t.Errorf("%s: %d sessions are stored, want 100: %v", name, len(got.Checkpoints), err)
			}
			if logged := strings.Contains(log.String(), "is gone or another"); logged != (name != "the lock") {
				t.Errorf("%s: logged %q", name, &log)
			}
			if _, err := Open(dir, storetest.Quiet); !errors.As(err, new(*InUseError)) {
				t.Errorf("%s: the directory is not locked any more: %v", name, err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A directory that another process has locked in the place of the removed one is left to it.
func TestFileLostToAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	sessions, starts := storetest.Sessions(100)
	f, err := Open(dir, storetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k := &resume.Keeper{Store: storetest.Unclosed{Store: f}, Bot: 7, Log: storetest.Quiet}
	save := func() error {
		starts.Count++
		return k.Save(t.Context(), maps.All(sessions), starts)
	}
	if err := errors.Join(save(), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	other, err := Open(dir, storetest.Quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := save(); !errors.As(err, new(*InUseError)) {
		t.Errorf("saved in the directory of another process: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(t.Context(), resume.State{}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Missing(t, f, sessions); n > 0 {
		t.Errorf("%d sessions are missing", n)
	}
	if got, err := Read(dir); err != nil || len(got.Checkpoints) != 100 {
		t.Errorf("%d sessions are stored after the other has ended: %v", len(got.Checkpoints), err)
	}
}
