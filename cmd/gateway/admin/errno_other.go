//go:build !windows

package admin

import "syscall"

// What the system says of addresses.
const (
	errRefused   = syscall.ECONNREFUSED
	errInUse     = syscall.EADDRINUSE
	errForbidden = syscall.EACCES
	errNotHere   = syscall.EADDRNOTAVAIL
)
