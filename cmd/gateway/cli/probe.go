// This file finds out what listens at an address at which the broker should.

package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"sluice/cmd/gateway/config"
)

// probeTimeout bounds each of the two questions to a peer that did not answer as the broker does.
const probeTimeout = 2 * time.Second

// What answers at an address, beside the Title of a broker.
const (
	silent  = "" // or unknown
	overTLS = "TLS"
	isHTTP  = "an HTTP server"
)

// probe asks what listens at the address. It says what Redis, an HTTP server and RabbitMQ each
// answer to, and to no effect; then it tries TLS.
func probe(ctx context.Context, address string) string {
	if s := probePlain(ctx, address); s != silent {
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var alert tls.AlertError
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // nothing is sent over it
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
	}
	if err == nil || errors.As(err, &alert) {
		return overTLS
	}
	return silent
}

func probePlain(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return silent
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.Write([]byte("PING / HTTP/1.1\r\n\r\n"))
	answer := make([]byte, 4)
	n, _ := conn.Read(answer)
	switch text := string(answer[:n]); {
	case strings.HasPrefix(text, "AMQP"):
		return amqpBroker().Title
	case strings.HasPrefix(text, "HTTP"), strings.HasPrefix(text, "<"):
		return isHTTP
	case strings.HasPrefix(text, "+"), strings.HasPrefix(text, "-"):
		return redisBroker().Title
	}
	return silent
}

// patience is how long a broker may take to answer before somebody asks what it is.
const patience = 2 * time.Second

// reach calls connect, and looks for a mistake if that fails or takes long: whoever speaks another
// protocol may wait for the end of a line for ever.
func (b Broker) reach(ctx context.Context, cfg *config.Config, connect func(context.Context) error) error {
	if b.server == nil {
		return connect(ctx)
	}
	trying, cancel := context.WithCancel(ctx)
	defer cancel()
	connected := make(chan error, 1)
	go func() { connected <- connect(trying) }()
	select {
	case err := <-connected:
		if err == nil || isMistake(err) && !errors.As(err, new(tls.RecordHeaderError)) || neverConnected(err) || ctx.Err() != nil {
			return err
		}
		return cmp.Or(b.mistaken(ctx, cfg), err)
	case <-time.After(patience):
	}
	err := b.mistaken(ctx, cfg)
	if err != nil {
		cancel()
	}
	return cmp.Or(err, <-connected)
}

// mistaken returns what is wrong with the broker's addresses if something else answers there. It
// is a settingError, for waiting does not mend it.
func (b Broker) mistaken(ctx context.Context, cfg *config.Config) error {
	s := b.server
	for _, u := range s.urls(cfg) {
		address := u.Reveal()
		if !strings.Contains(address, "://") {
			address = s.scheme + "://" + address
		}
		scheme, at := hostPort(address, s.port, s.securePort)
		if at == "" {
			continue
		}
		mistake := ""
		switch is := probe(ctx, at); {
		case is == silent:
		case is == b.Title && scheme != s.scheme:
			mistake = fmt.Sprintf("the server does not speak TLS on this port: use %[1]s:// instead of %[1]ss://", s.scheme)
		case is == overTLS && scheme == s.scheme:
			mistake = fmt.Sprintf("the server speaks TLS on this port: use %[1]ss:// instead of %[1]s://", s.scheme)
		case is != b.Title && is != overTLS:
			mistake = fmt.Sprintf("%s answers there, not %s: correct host and port, which is %s by default", is, b.Title, s.port)
		}
		if mistake != "" {
			return settingError{fmt.Errorf("%s: %s: %s", s.setting, at, mistake)}
		}
	}
	return nil
}

// neverConnected reports whether there was nobody to ask.
func neverConnected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && !op.Timeout()
}

// hostPort returns the scheme of an address, and where to connect to; "" if that is no TCP port.
func hostPort(address, plainPort, securePort string) (scheme, at string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", ""
	}
	port := u.Port()
	switch {
	case port != "":
	case strings.HasSuffix(u.Scheme, "s"):
		port = securePort
	default:
		port = plainPort
	}
	return u.Scheme, net.JoinHostPort(u.Hostname(), port)
}
