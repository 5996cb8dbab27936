// This file makes connections to the gateway.

package engine

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"time"

	"sluice/wire"
)

// dialer returns how a reader connects: within Options.ConnectTimeout. wrap, if
// not nil, is put around the TCP connection, below TLS and behind what a proxy had to say.
func (e *Engine) dialer(wrap func(net.Conn) net.Conn) dialFunc {
	return func(ctx context.Context, u *url.URL) (net.Conn, []byte, error) { return e.dial(ctx, u, wrap) }
}

func (e *Engine) dial(ctx context.Context, u *url.URL, wrap func(net.Conn) net.Conn) (_ net.Conn, rest []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.ConnectTimeout)
	defer cancel()
	config := e.opts.live.tls.Load()
	dialer := *e.proxy
	dialer.TLS = config
	conn, err := dialer.Dial(ctx, u)
	if err != nil {
		return nil, nil, fmt.Errorf("engine: connect to %s: %w", u.Host, err)
	}
	if wrap != nil {
		if _, secure := conn.(*tls.Conn); secure {
			closeNow(conn)
			return nil, nil, fmt.Errorf("engine: connect to %s: %w", u.Host, ErrSecureProxy)
		}
		conn = wrap(conn)
	}
	// The handshakes know only deadlines; an engine that stops moves it up.
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx) // the deadline may be the past one
		}
		if err != nil {
			closeNow(conn)
			err = fmt.Errorf("engine: connect to %s: %w", u.Host, err)
			return
		}
		conn.SetDeadline(time.Time{})
	}()
	if u.Scheme == "wss" {
		if config.ServerName == "" {
			config = config.Clone()
			config.ServerName = u.Hostname()
		}
		secure := tls.Client(conn, config)
		conn = secure
		if err = secure.HandshakeContext(ctx); err != nil {
			return nil, nil, err
		}
	}
	rest, err = wire.Handshake(conn, u, e.opts.UserAgent)
	return conn, rest, err
}

// behindSecureProxy reports whether connections to u go through an https proxy.
func (e *Engine) behindSecureProxy(u *url.URL) bool {
	p, err := e.proxy.For(u)
	return err == nil && p != nil && p.Scheme == "https"
}

// closeNow closes a connection without the alert that tls.Conn.Close would
// wait for the peer to take.
func closeNow(conn net.Conn) { belowTLS(conn).Close() }

// belowTLS returns the connection that all layers of TLS go over: behind an https proxy there
// are two.
func belowTLS(conn net.Conn) net.Conn {
	for {
		secure, ok := conn.(*tls.Conn)
		if !ok {
			return conn
		}
		conn = secure.NetConn()
	}
}
