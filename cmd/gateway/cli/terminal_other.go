// This file handles terminals where they are POSIX's.

//go:build !windows

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// takesSequences reports whether the terminal takes escape sequences.
func takesSequences(*os.File) bool { return os.Getenv("TERM") != "" }

// notifyContinued relays to c that the process goes on after it was stopped (Ctrl-Z, fg): others
// have written to the terminal meanwhile.
func notifyContinued(c chan<- os.Signal) { signal.Notify(c, syscall.SIGCONT) }
