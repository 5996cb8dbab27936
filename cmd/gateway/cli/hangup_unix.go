//go:build unix

// This file decides what SIGHUP is.

package cli

import "os"

// hasTerminal reports whether the process has a controlling terminal, which sends SIGHUP when it goes
// away.
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}
