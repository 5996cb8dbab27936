// This file is a listener whose door can be shut.

package sim

import (
	"io"
	"net"
	"sync"
)

// GateMode is what a listener does with a new connection.
type GateMode int

const (
	GateOpen   GateMode = iota // serve it
	GateRefuse                 // reset it at once
	GateSilent                 // keep it and say nothing
)

// gate is a listener that can refuse and ignore.
type gate struct {
	srv   *Server
	role  string
	inner net.Listener

	mu    sync.Mutex
	mode  GateMode
	count int
	held  map[io.Closer]struct{} // ignored connections
}

func (g *gate) Addr() net.Addr { return g.inner.Addr() }

// Accept returns the next connection to be served.
func (g *gate) Accept() (net.Conn, error) {
	for {
		nc, err := g.inner.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		mode := g.mode
		g.count++
		n := g.count
		g.mu.Unlock()
		for _, r := range g.srv.rules(OnDial, g.role, -1, n, 0) {
			g.srv.noteFault(0, -1, r.Do.Kind)
			mode = GateRefuse
			if r.Do.Kind == SilentDial || r.Do.Kind == HalfOpen {
				mode = GateSilent
			}
		}
		switch mode {
		case GateOpen:
			return nc, nil
		case GateRefuse:
			reset(nc)
		case GateSilent:
			g.hold(nc)
		}
	}
}

// Close closes the listener and what it ignored.
func (g *gate) Close() error {
	err := g.inner.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	for nc := range g.held {
		nc.Close()
	}
	clear(g.held)
	return err
}

func (g *gate) set(mode GateMode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = mode
	if mode == GateOpen {
		for nc := range g.held {
			nc.Close()
		}
		clear(g.held)
	}
}

// reset ends a connection with an RST.
func reset(nc net.Conn) {
	switch raw := nc.(type) {
	case *net.TCPConn:
		raw.SetLinger(0)
	case *memConn:
		raw.Reset()
	}
	nc.Close()
}
