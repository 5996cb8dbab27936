// This file tests standard output that is a Unix socket, as a child of Node.js
// has it.

//go:build unix

package stdio

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"sluice/sinks"
)

// TestSocketClosedUnderWrite closes the reader while a write waits for room and
// bytes lie unread, which is a reset and not a broken pipe.
func TestSocketClosedUnderWrite(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, r := os.NewFile(uintptr(fds[0]), "output"), os.NewFile(uintptr(fds[1]), "reader")
	done := make(chan error, 1)
	go func() {
		_, err := offer(t.Context(), NewSink(w, JSON), []sinks.Event{event(1, "X", strings.Repeat("1", 64<<20))})
		w.Close() // or a reader waits for ever for what was not written
		done <- err
	}()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	r.Close()
	if err := <-done; !IsClosedPipe(err) {
		t.Errorf("Publish: %v; want the error of a closed pipe", err)
	}
}
