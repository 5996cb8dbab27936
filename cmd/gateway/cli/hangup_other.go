//go:build !unix

// This file is for the systems without SIGHUP.

package cli

// hasTerminal reports true: nothing but its console would send a hangup.
func hasTerminal() bool { return true }
