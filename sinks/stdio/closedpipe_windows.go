// This file has the errors of a pipe without a reader on Windows.

package stdio

import (
	"errors"
	"io"
	"syscall"
)

// https://learn.microsoft.com/en-us/windows/win32/debug/system-error-codes--0-499-
const (
	errorNoData           = syscall.Errno(232) // the pipe is being closed
	errorPipeNotConnected = syscall.Errno(233)
)

// IsClosedPipe reports whether err, as Publish returned it, means that nobody
// reads the output any more.
func IsClosedPipe(err error) bool {
	return errors.Is(err, syscall.ERROR_BROKEN_PIPE) || errors.Is(err, errorNoData) ||
		errors.Is(err, errorPipeNotConnected) || errors.Is(err, io.ErrClosedPipe)
}
