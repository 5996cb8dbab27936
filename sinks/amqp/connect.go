// This file opens connections to one of the brokers.

package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// closeTimeout is how long a broker has for its last word on a connection.
const closeTimeout = time.Second

// settleTimeout is how long a broker has, when commands are not read any more, to take the acknowledgements and to confirm
// what is being forwarded: what it does not take or confirm then would be sent twice. A busy broker may need
// more than a second.
const settleTimeout = 5 * time.Second

// brokers are the addresses, tried in turn. It belongs to one goroutine.
type brokers struct {
	o         *Options
	addresses []address
	first     int // where to begin: the address that was connected to last
}

// connect opens a connection to the first broker that lets it and that setUp finds
// no fault with. The error is of all, a *ConfigError first.
func (b *brokers) connect(ctx context.Context, setUp func(*address, *amqp091.Connection, *tap) error) (*amqp091.Connection, *tap, error) {
	var errs []error
	for i := range b.addresses {
		at := (b.first + i) % len(b.addresses)
		a := &b.addresses[at]
		conn, t, err := b.open(ctx, a, setUp)
		if errors.Is(err, amqp091.ErrCredentials) {
			// RabbitMQ answers a wrong password by hanging up, and a broker that goes
			// away at this moment hangs up, too: ask once more to distinguish them.
			conn, t, err = b.open(ctx, a, setUp)
		}
		if err == nil {
			b.first = at
			return conn, t, nil
		}
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("amqp: %s: %w", a.text, context.Cause(ctx))
		}
		var mistake *ConfigError
		if errors.As(err, &mistake) {
			errs = append([]error{err}, errs...)
		} else {
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return nil, nil, errs[0]
	}
	return nil, nil, errors.Join(errs...)
}

// open opens a connection and calls setUp, all within ConnectTimeout.
func (b *brokers) open(ctx context.Context, a *address, setUp func(*address, *amqp091.Connection, *tap) error) (*amqp091.Connection, *tap, error) {
	ctx, cancel := context.WithTimeout(ctx, b.o.ConnectTimeout)
	defer cancel()
	raw, err := b.dial(ctx, a)
	if err != nil {
		return nil, nil, explainOpen(a, b.o.External, err)
	}
	t := newTap(raw, a.heartbeat*3/2)
	// amqp091-go takes no contexts: its calls end when the connection does.
	stop := context.AfterFunc(ctx, func() { t.Close() })
	defer stop()
	conn, err := amqp091.Open(t, b.config(a))
	if err != nil {
		t.Close() // ends amqp091-go's goroutines
		// amqp091-go makes something else of these, such as a wrong password.
		if ctx.Err() != nil {
			err = fmt.Errorf("the broker does not answer: %w", context.Cause(ctx))
		}
		if fault := t.guard.failed(); fault != nil {
			err = fault
		}
		return nil, nil, explainOpen(a, b.o.External, err)
	}
	if err = setUp(a, conn, t); err == nil && !stop() {
		err = explainOpen(a, b.o.External, fmt.Errorf("the broker does not answer: %w", context.Cause(ctx)))
	}
	if err != nil {
		hangUp(conn, t, closeTimeout)
		return nil, nil, err
	}
	return conn, t, nil
}

func (b *brokers) dial(ctx context.Context, a *address) (net.Conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.uri.Host, strconv.Itoa(a.uri.Port)))
	if err != nil || a.uri.Scheme != "amqps" {
		return raw, err
	}
	config := b.o.TLS.Clone() // nil for nil
	if config == nil {
		config = new(tls.Config)
	}
	if b.o.RenewTLS != nil {
		config = b.o.RenewTLS(config)
	}
	if config.ServerName == "" {
		config.ServerName = a.uri.Host
	}
	secure := tls.Client(raw, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return secure, nil
}

func (b *brokers) config(a *address) amqp091.Config {
	var login amqp091.Authentication = a.uri.PlainAuth()
	if b.o.External {
		login = &amqp091.ExternalAuth{}
	}
	return amqp091.Config{
		SASL:       []amqp091.Authentication{login},
		Vhost:      a.uri.Vhost,
		Heartbeat:  a.heartbeat,
		FrameSize:  maxFrame,
		Locale:     "en_US",
		Properties: amqp091.Table{"product": "sluice", "connection_name": "sluice"},
	}
}

// hangUp closes a connection, with a word to the broker if it still listens, which has so long to answer.
func hangUp(conn *amqp091.Connection, t *tap, within time.Duration) {
	defer time.AfterFunc(within, func() { t.Close() }).Stop()
	conn.Close()
}
