// This file handles the console of Windows.

package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// takesSequences switches escape sequences on, and reports whether the console takes them: those
// since Windows 10 do.
func takesSequences(f *os.File) bool {
	return onFD(f, func(fd int) bool {
		var mode uint32
		if err := windows.GetConsoleMode(windows.Handle(fd), &mode); err != nil {
			return false
		}
		return windows.SetConsoleMode(windows.Handle(fd), mode|windows.ENABLE_PROCESSED_OUTPUT|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
	})
}

// notifyContinued does nothing: a process is not stopped from the console.
func notifyContinued(chan<- os.Signal) {}
