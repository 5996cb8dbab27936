// This file finds ports for the servers of tests.

package sinktest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// given are the ports that this process has given out. Tests that run beside each other have
// different ones.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// Port returns a port of the loopback on which nobody listened just now. It is below those that
// systems give to outgoing connections: what a server that is down for a moment leaves free
// must be free when it comes back.
func Port() (int, error) {
	given.Lock()
	defer given.Unlock()
	for range 10_000 {
		port := 10_000 + rand.IntN(22_000)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		if given.ports == nil {
			given.ports = make(map[int]bool)
		}
		given.ports[port] = true
		return port, nil
	}
	return 0, errors.New("no port of the loopback is free")
}

// Address returns an address of the loopback with a Port.
func Address() (string, error) {
	port, err := Port()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// FreeAddress is Address for a test.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", FreePort(t))
}

// FreePort is Port for a test.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
