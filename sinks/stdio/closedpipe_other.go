// This file has the errors of a pipe without a reader where they are POSIX's.

//go:build !windows

package stdio

import (
	"errors"
	"io"
	"syscall"
)

// IsClosedPipe reports whether err, as Publish returned it, means that nobody
// reads the output any more. A process that is to see this error on its
// standard output must ignore SIGPIPE or be notified of it (os/signal): by
// default the signal ends it.
func IsClosedPipe(err error) bool {
	// ECONNRESET: Node.js makes a child's pipes of Unix sockets, and a write
	// that waits for room is broken off with it when the other end closes.
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe)
}
