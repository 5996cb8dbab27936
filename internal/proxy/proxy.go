// This file makes connections, through a proxy where there is one.

// Package proxy makes TCP connections, directly or through an HTTP or SOCKS5 proxy, which
// then resolves the name of the host.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Dialer makes connections. Its fields are fixed once it is in use; any goroutine may then
// call it.
type Dialer struct {
	// Proxy returns the proxy for a target, an http or https URL; nil: none. It has the
	// scheme http, https, socks5 or socks5h. A nil function: none for all.
	Proxy func(target *url.URL) (*url.URL, error)
	// DialContext makes TCP connections; a net.Dialer by default.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is the configuration for an https proxy; nil: the system's roots.
	TLS *tls.Config
	// UserAgent is sent to an HTTP proxy; empty: none.
	UserAgent string
	// Timeout bounds the whole; 10 s by default.
	Timeout time.Duration
}

// For returns the proxy of the target; nil: none. ws counts as http, and wss as https. No
// error has the password of a proxy in it.
func (d *Dialer) For(target *url.URL) (*url.URL, error) {
	if d.Proxy == nil {
		return nil, nil
	}
	u := &url.URL{Scheme: "https", Host: HostPort(target)}
	if !secure(target) {
		u.Scheme = "http"
	}
	p, err := d.Proxy(u)
	if err != nil {
		// The cause quotes the address, and so may have the password.
		return nil, errors.New("proxy: the address of the proxy, as in HTTPS_PROXY or HTTP_PROXY, cannot be understood; correct it, or set proxy")
	}
	if p == nil {
		return nil, nil
	}
	switch p.Scheme {
	case "http", "https", "socks5", "socks5h":
		return p, nil
	}
	return nil, fmt.Errorf("proxy: the scheme %.20q is not that of a proxy: http, https or socks5", p.Scheme)
}

// Dial connects to the host of the target, whose scheme is http, https, ws or wss. It is a
// TCP connection as DialContext has made it, also behind an http or a socks5 proxy; behind an
// https proxy it is a *tls.Conn. Nothing that arrives behind the proxy's answer is read.
func (d *Dialer) Dial(ctx context.Context, target *url.URL) (net.Conn, error) {
	timeout := d.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p, err := d.For(target)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return d.dial(ctx, HostPort(target))
	}
	conn, err := d.dial(ctx, HostPort(p))
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.Host, err)
	}
	conn, err = d.through(ctx, conn, p, HostPort(target))
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.Host, err)
	}
	return conn, nil
}

func (d *Dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	if d.DialContext == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	return d.DialContext(ctx, "tcp", address)
}

// through has the proxy at the other end of conn connect to the address. It closes conn if it fails.
func (d *Dialer) through(ctx context.Context, conn net.Conn, p *url.URL, address string) (_ net.Conn, err error) {
	raw := conn
	deadline, _ := ctx.Deadline()
	raw.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx) // the deadline may be the past one
		}
		if err != nil {
			raw.Close()
			return
		}
		raw.SetDeadline(time.Time{})
	}()
	switch p.Scheme {
	case "socks5", "socks5h":
		return conn, socks5(conn, p.User, address)
	case "https":
		config := new(tls.Config)
		if d.TLS != nil {
			config = d.TLS.Clone()
		}
		config.ServerName, config.NextProtos = p.Hostname(), nil
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	return conn, connect(conn, p.User, address, d.UserAgent)
}

func secure(u *url.URL) bool { return u.Scheme == "https" || u.Scheme == "wss" }

// HostPort returns the address to dial for a URL.
func HostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case secure(u):
		port = "443"
	case u.Scheme == "socks5" || u.Scheme == "socks5h":
		port = "1080"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
