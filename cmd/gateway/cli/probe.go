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
	"sluice/sinks/amqp"
	"sluice/sinks/redis"
)

// probeTimeout bounds each of the two questions to a peer that did not answer as the broker does.
const probeTimeout = 2 * time.Second

// server is what answers at an address.
type server string

const (
	silent   server = "" // or unknown
	overTLS  server = "TLS"
	isHTTP   server = "an HTTP server"
	isRedis  server = "Redis"
	isRabbit server = "RabbitMQ"
)

// probe asks what listens at the address. It says what Redis, an HTTP server and RabbitMQ each
// answer to, and to no effect; then it tries TLS.
func probe(ctx context.Context, address string) server {
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

func probePlain(ctx context.Context, address string) server {
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
		return isRabbit
	case strings.HasPrefix(text, "HTTP"), strings.HasPrefix(text, "<"):
		return isHTTP
	case strings.HasPrefix(text, "+"), strings.HasPrefix(text, "-"):
		return isRedis
	}
	return silent
}

// patience is how long a broker may take to answer before somebody asks what it is.
const patience = 2 * time.Second

// reach calls connect, and mistake if that fails or takes long: whoever speaks another protocol may
// wait for the end of a line for ever. What mistake finds is a settingError, for waiting does not
// mend it.
func reach(ctx context.Context, connect, mistake func(context.Context) error) error {
	trying, cancel := context.WithCancel(ctx)
	defer cancel()
	connected := make(chan error, 1)
	go func() { connected <- connect(trying) }()
	select {
	case err := <-connected:
		if err == nil || isMistake(err) && !errors.As(err, new(tls.RecordHeaderError)) || neverConnected(err) || ctx.Err() != nil {
			return err
		}
		return cmp.Or(mistake(ctx), err)
	case <-time.After(patience):
	}
	err := mistake(ctx)
	if err != nil {
		cancel()
	}
	return cmp.Or(err, <-connected)
}

// isMistake reports whether waiting does not mend an error.
func isMistake(err error) bool {
	return errors.As(err, new(settingError)) || errors.As(err, new(*redis.ConfigError)) || errors.As(err, new(*amqp.ConfigError))
}

// notRedis returns what is wrong with redis.urls if something else answers there.
func notRedis(ctx context.Context, cfg *config.Config) error {
	for _, u := range cfg.Redis.URLs {
		address := u.Reveal()
		if !strings.Contains(address, "://") {
			address = "redis://" + address
		}
		scheme, at := hostPort(address, "6379", "6379")
		if at == "" {
			continue
		}
		mistake := ""
		switch s := probe(ctx, at); {
		case s == isRedis && scheme == "rediss":
			mistake = "the server does not speak TLS on this port: use redis:// instead of rediss://"
		case s == overTLS && scheme == "redis":
			mistake = "the server speaks TLS on this port: use rediss:// instead of redis://"
		case s == isHTTP, s == isRabbit:
			mistake = fmt.Sprintf("%s answers there, not Redis: correct host and port, which is 6379 by default", s)
		default:
			continue
		}
		return settingError{fmt.Errorf("redis.urls: %s: %s", at, mistake)}
	}
	return nil
}

// notRabbitMQ returns what is wrong with amqp.url if something else answers there.
func notRabbitMQ(ctx context.Context, cfg *config.Config) error {
	for _, u := range cfg.AMQP.URLs {
		scheme, at := hostPort(u.Reveal(), "5672", "5671")
		if at == "" {
			continue
		}
		mistake := ""
		switch s := probe(ctx, at); {
		case s == isRabbit && scheme == "amqps":
			mistake = "the server does not speak TLS on this port: use amqp:// instead of amqps://"
		case s == overTLS && scheme == "amqp":
			mistake = "the server speaks TLS on this port: use amqps:// instead of amqp://"
		case s == isHTTP, s == isRedis:
			mistake = fmt.Sprintf("%s answers there, not RabbitMQ: correct host and port, which is 5672 by default", s)
		default:
			continue
		}
		return settingError{fmt.Errorf("amqp.url: %s: %s", at, mistake)}
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
