//go:build unix

// This file tests directories with what is no regular file, or far too long.

package file

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/resume/internal/storetest"
)

// What is no regular file is neither waited for nor read without end: the error names it.
func TestFileNotRegular(t *testing.T) {
	for kind, put := range map[string]func(path string) error{
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		for _, name := range []string{fileName, newName, lockName} {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, storetest.Quiet); err == nil || !strings.Contains(err.Error(), path+" is not a regular file") {
				t.Errorf("a %s %s: %v", kind, name, err)
			}
			if _, err := Read(dir); name == fileName && (err == nil || !strings.Contains(err.Error(), path)) {
				t.Errorf("reading a %s %s: %v", kind, name, err)
			}
			if _, err := Owner(dir); err == nil || name == lockName && !strings.Contains(err.Error(), path) {
				t.Errorf("the owner by a %s %s: %v", kind, name, err)
			}
		}
		// Where a damaged file would be kept.
		dir := t.TempDir()
		if err := put(filepath.Join(dir, badName)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		f, err := Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if !strings.Contains(log.String(), "could not be kept") {
			t.Errorf("a %s %s: logged %q", kind, badName, &log)
		}
	}
}

// A file that no process has written is not read into memory, but kept beside.
func TestFileTooLarge(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	if err := os.WriteFile(path, []byte(magic), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 3<<30); err != nil { // sparse
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("read: %v", err)
	}
	var log bytes.Buffer
	f, err := Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !strings.Contains(log.String(), "discarded") {
		t.Errorf("logged %q", &log)
	}
	if info, err := os.Stat(filepath.Join(dir, badName)); err != nil || info.Size() != 3<<30 {
		t.Errorf("it is not kept: %v", err)
	}
	if got, err := Read(dir); err != nil || len(got.Checkpoints) > 0 {
		t.Errorf("afterwards: %+v, %v", got, err)
	}
}
