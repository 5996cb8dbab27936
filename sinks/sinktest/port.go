// This file finds ports for the servers of tests.

package sinktest

import (
	"net"
	"testing"
)

// FreePort returns a port of the loopback on which nobody listened just now.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
