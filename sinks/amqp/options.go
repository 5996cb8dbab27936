// This file declares what a caller chooses, and checks it.

package amqp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
)

// Options are what New is given. Only URLs is required.
type Options struct {
	// URLs are the brokers of a cluster, amqp:// or amqps://user:password@host:port/vhost,
	// tried in turn. The query parameter heartbeat, in seconds, is known.
	URLs []string
	// TLS is used with amqps://; nil trusts the system's authorities. It must not
	// be changed any more.
	TLS *tls.Config
	// RenewTLS, if set, returns what takes the place of a copy of TLS for the next connection.
	RenewTLS func(*tls.Config) *tls.Config
	// External logs in with the certificate in TLS (SASL EXTERNAL) in place of the
	// user and password of the URL (PLAIN).
	External bool
	// Heartbeat is the longest silence of the connection, in whole seconds; 10 s by
	// default. Three halves of it without a sign of life end the connection.
	Heartbeat time.Duration
	// ConnectTimeout bounds the dialling and setting up of a connection; 10 s by
	// default.
	ConnectTimeout time.Duration

	// Exchange is the durable exchange that events are published to, "gateway" by
	// default. It is declared, with Kind, if it does not exist.
	Exchange string
	// Kind is "direct", the default, or "topic".
	Kind string
	// RoutingKey appends an event's routing key, of at most 255 bytes, to dst and
	// returns the result; nil takes the event's name. Body does the same for the
	// message; nil wraps the data as one MessagePack raw string. They are called on
	// one goroutine at a time, again for an event that is sent again, and must
	// change nothing before the end of dst nor keep dst or the event. An event for
	// which Body fails is dead-lettered.
	RoutingKey func(dst []byte, ev *sinks.Event) []byte
	Body       func(dst []byte, ev *sinks.Event) ([]byte, error)
	// Expiration is how long a message waits in a queue, in whole milliseconds; 0
	// for ever.
	Expiration time.Duration
	// ExpirationNow, if set, returns it as it is now; it is called for each batch.
	ExpirationNow func() time.Duration
	// Persistent has durable queues keep messages over a restart of the broker.
	Persistent bool
	// Mandatory counts the events that no queue takes (sinks.Status.Unroutable).
	Mandatory bool
	// Headers adds the headers shard, session and seq; to events with an Epoch also epoch and owner.
	Headers bool
	// Owner is this process's name in a fleet.
	Owner string

	// Window is how many events may be unacknowledged before Publish waits; 4096 by
	// default.
	Window int
	// DeadLetter takes an event that can't be delivered, with the reason: the broker
	// has closed the channel for it three times, or it can't be encoded. The event
	// is borrowed for the call, which one goroutine makes at a time; then it is
	// acknowledged. An error says that the event is lost. nil drops it. Either way it is counted and
	// logged.
	DeadLetter func(ev *sinks.Event, reason error) error
	// Prefetch is how many commands of a queue are taken before they are done; 64 by
	// default.
	Prefetch int
	// Log takes what happens to connections; nil is slog.Default().
	Log *slog.Logger
}

// address is one of Options.URLs.
type address struct {
	uri       amqp091.URI
	heartbeat time.Duration
	text      string // the URL without the password
}

// complete returns o with the defaults filled in, and its addresses.
func (o Options) complete() (Options, []address, error) {
	o.Exchange = withDefault(o.Exchange, "gateway")
	o.Kind = withDefault(o.Kind, amqp091.ExchangeDirect)
	o.Heartbeat = withDefault(o.Heartbeat, 10*time.Second)
	o.ConnectTimeout = withDefault(o.ConnectTimeout, 10*time.Second)
	o.Window = withDefault(o.Window, 4096)
	o.Prefetch = withDefault(o.Prefetch, 64)
	o.Log = withDefault(o.Log, slog.Default())
	switch {
	case len(o.URLs) == 0:
		return o, nil, errors.New("amqp: no URL of a broker is given")
	case len(o.Exchange) > maxShort:
		return o, nil, fmt.Errorf("amqp: the exchange's name has %d bytes, and AMQP allows %d", len(o.Exchange), maxShort)
	case strings.HasPrefix(o.Exchange, "amq."):
		return o, nil, fmt.Errorf("amqp: the exchange can't be %q: names that begin with amq. are the broker's own", o.Exchange)
	case o.Kind != amqp091.ExchangeDirect && o.Kind != amqp091.ExchangeTopic:
		return o, nil, fmt.Errorf("amqp: the exchange's kind %q is neither direct nor topic", o.Kind)
	case o.Window < 1:
		return o, nil, fmt.Errorf("amqp: a window of %d events", o.Window)
	case o.Prefetch < 1 || o.Prefetch > 0xffff:
		return o, nil, fmt.Errorf("amqp: a prefetch of %d is not between 1 and 65,535", o.Prefetch)
	case o.Heartbeat < time.Second:
		return o, nil, fmt.Errorf("amqp: a heartbeat of %v is below a second", o.Heartbeat)
	case o.External && (o.TLS == nil || len(o.TLS.Certificates) == 0 && o.TLS.GetClientCertificate == nil):
		return o, nil, errors.New("amqp: to log in as EXTERNAL a client certificate is needed")
	}
	var addresses []address
	for i, u := range o.URLs {
		a, err := parseAddress(u, o.Heartbeat)
		if err != nil {
			return o, nil, fmt.Errorf("amqp: URL %d: %w", i+1, err)
		}
		if o.External && a.uri.Scheme != "amqps" {
			return o, nil, fmt.Errorf("amqp: URL %d: to log in as EXTERNAL it must begin with amqps://", i+1)
		}
		addresses = append(addresses, a)
	}
	return o, addresses, nil
}

func withDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// parseAddress parses a URL. Its errors don't quote it: it may hold a password.
func parseAddress(s string, heartbeat time.Duration) (address, error) {
	u, err := url.Parse(s)
	if err != nil {
		return address{}, errors.New("it is malformed; characters such as / # ? @ : % in the user or the password are written %2F, %23 and so on")
	}
	if u.Scheme != "amqp" && u.Scheme != "amqps" {
		return address{}, errors.New("it begins with neither amqp:// nor amqps://")
	}
	query := u.Query()
	for name := range query {
		if name != "heartbeat" {
			return address{}, fmt.Errorf("its parameter %q is not known; only heartbeat is", name)
		}
	}
	if v := query.Get("heartbeat"); v != "" {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return address{}, fmt.Errorf("its heartbeat %q is not a number of seconds", v)
		}
		heartbeat = time.Duration(n) * time.Second
	}
	uri, err := amqp091.ParseURI(s)
	if err != nil {
		return address{}, errors.New("it is malformed; is the port a number, and is there no space?")
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	u.RawQuery, u.Fragment = "", ""
	return address{uri, heartbeat, u.String()}, nil
}
