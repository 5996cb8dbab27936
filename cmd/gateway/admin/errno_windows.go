package admin

import "golang.org/x/sys/windows"

// What the system says of addresses; those of package syscall are never returned here.
const (
	errRefused   = windows.WSAECONNREFUSED
	errInUse     = windows.WSAEADDRINUSE
	errForbidden = windows.WSAEACCES
	errNotHere   = windows.WSAEADDRNOTAVAIL
)
