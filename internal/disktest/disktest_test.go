// This file tests that the disk keeps what a real one must, and loses what one may.

package disktest

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(f *File, text string) error {
	_, err := f.Write([]byte(text))
	return err
}

// has checks what is on a disk.
func has(t *testing.T, d *Disk, want map[string]string) {
	t.Helper()
	entries, err := d.ReadDir()
	must(t, err)
	if len(entries) != len(want) {
		t.Errorf("%v, want %v", entries, want)
	}
	for name, text := range want {
		if got, err := d.Read(name); err != nil || string(got) != text {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, text)
		}
	}
}

// Only what was synced, its name among it, is certain to outlive a power cut.
func TestCrashKeepsWhatIsSynced(t *testing.T) {
	d := New()
	f, err := d.Create("a")
	must(t, err, write(f, "one"))
	has(t, d.Crash(nil), nil)
	must(t, f.Sync())
	has(t, d.Crash(nil), nil) // it has no name
	must(t, d.Sync(), write(f, "two"))
	has(t, d, map[string]string{"a": "onetwo"})
	has(t, d.Copy(), map[string]string{"a": "onetwo"})
	has(t, d.Crash(nil), map[string]string{"a": "one"})
	must(t, d.Rename("a", "b"))
	has(t, d.Crash(nil), map[string]string{"a": "one"})
	must(t, d.Sync(), f.Truncate(2))
	has(t, d.Crash(nil), map[string]string{"b": "one"})
	must(t, f.Sync())
	has(t, d.Crash(nil), map[string]string{"b": "on"})
	must(t, d.Remove("b"))
	has(t, d.Crash(nil), map[string]string{"b": "on"})
	must(t, d.Sync())
	has(t, d.Crash(nil), nil)
	if err := d.Remove("b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	var ops []string
	for _, op := range d.Ops() {
		ops = append(ops, strings.TrimSuffix(op.String(), " 0"))
	}
	if want := []string{"create a", "write a 3", "sync a", "sync directory ", "write a 3", "rename a", "sync directory ", "truncate b 2", "sync b", "remove b", "sync directory ", "remove b"}; !slices.Equal(ops, want) {
		t.Errorf("operations %q, want %q", ops, want)
	}
}

// What was not synced may be there, in part or as zeros.
func TestCrashTears(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(500) {
		d := New()
		f, err := d.Create("a")
		must(t, err, write(f, "12"), f.Sync(), d.Sync(), write(f, "34"), write(f, "56"))
		text, err := d.Crash(rand.New(rand.NewPCG(seed, 1))).Read("a")
		must(t, err)
		seen[string(text)] = true
	}
	for _, want := range []string{"12", "123", "1234", "12345", "123456", "12\x00\x00", "1234\x00", "12\x00\x0056"} {
		if !seen[want] {
			t.Errorf("%q is not left, but %v", want, seen)
		}
	}
	for text := range seen {
		if len(text) > 6 || !strings.HasPrefix(text, "12") {
			t.Errorf("%q is left", text)
		}
	}
}

// A sync after one that has failed does not bring back what that was to write.
func TestFailedSync(t *testing.T) {
	d, failed := New(), errors.New("failed")
	f, err := d.Create("a")
	must(t, err, d.Sync(), write(f, "12"))
	d.Fail(func(op Op) error {
		if op.Kind == Sync {
			return failed
		}
		return nil
	})
	if err := f.Sync(); !errors.Is(err, failed) {
		t.Errorf("synced: %v", err)
	}
	d.Fail(nil)
	must(t, write(f, "34"), f.Sync())
	has(t, d, map[string]string{"a": "1234"})
	has(t, d.Crash(nil), map[string]string{"a": "\x00\x0034"})
}

// A closed file is neither read nor written.
func TestClosed(t *testing.T) {
	f, err := New().Create("a")
	must(t, err, write(f, "12"), f.Close())
	_, read := f.ReadAt(make([]byte, 1), 0)
	for _, err := range []error{read, write(f, "3"), f.Sync(), f.Truncate(0), f.Close()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	}
	if f.Size() != 2 {
		t.Errorf("%d bytes, want 2", f.Size())
	}
}

func TestFullAndCut(t *testing.T) {
	d := New()
	f, err := d.Create("a")
	must(t, err)
	d.SetRoom(3)
	if n, err := f.Write([]byte("12345")); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v", n, err)
	}
	d.SetRoom(-1)
	must(t, write(f, "45"))
	d.CutAfter(1)
	must(t, f.Sync())
	if n, err := f.Write([]byte("6789")); n != 2 || !errors.Is(err, ErrCut) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if n, err := f.Write([]byte("6789")); n != 0 || !errors.Is(err, ErrCut) {
		t.Errorf("wrote %d, %v", n, err)
	}
	has(t, d, map[string]string{"a": "1234567"})
}
