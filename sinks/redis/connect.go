// This file connects to Redis, and distinguishes mistakes in the settings from a server that
// is unavailable.

package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
)

// ConfigError is a mistake in the settings that only Redis' answer shows: waiting
// does not mend it.
type ConfigError struct {
	Problem Problem
	Err     error
}

// Error returns what Redis said.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns what Redis said.
func (e *ConfigError) Unwrap() error { return e.Err }

// Is reports that it is sinks.ErrConfig.
func (e *ConfigError) Is(target error) bool { return target == sinks.ErrConfig }

// answerTimeout is how long an answer of Redis may take, after which the connection
// counts as dead.
const answerTimeout = 10 * time.Second

// NewClientOption returns how to reach Redis at the addresses: host:port, or URLs as
// rueidis.ParseURL takes them (redis, rediss and unix, with user, password, database
// number; master_set names a Sentinel's master). Several are the nodes of a
// cluster, or Sentinels. secure, if any, is used for rediss, which is that of the Sentinels too:
// they and the master that they name must each have a certificate for the host that is
// dialed, or for secure.ServerName. The error does not contain an address, in which a password
// may stand.
func NewClientOption(addresses []string, secure *tls.Config) (rueidis.ClientOption, error) {
	var o rueidis.ClientOption
	for i, a := range addresses {
		if !strings.Contains(a, "://") {
			a = "redis://" + a
		}
		next, err := rueidis.ParseURL(strings.TrimSuffix(a, "/"))
		switch {
		case err == nil:
		case strings.Contains(err.Error(), "database number"), strings.Contains(err.Error(), "URL path"):
			return o, fmt.Errorf("address %d of Redis has a path that is no database number, as in redis://host:6379/0", i+1)
		default:
			return o, fmt.Errorf("address %d of Redis is not host:port, redis://, rediss:// or unix://", i+1)
		}
		if i == 0 {
			o = next
			if o.TLSConfig != nil && secure != nil {
				name := o.TLSConfig.ServerName
				if o.TLSConfig = secure.Clone(); o.TLSConfig.ServerName == "" && len(addresses) == 1 {
					o.TLSConfig.ServerName = name
				}
			}
			continue
		}
		if o.TLSConfig == nil && next.TLSConfig != nil {
			return o, fmt.Errorf("address %d of Redis is rediss://, but the first is not: all are reached as the first is", i+1)
		}
		o.InitAddress = append(o.InitAddress, next.InitAddress...)
	}
	if len(o.InitAddress) == 0 {
		return o, errors.New("no address of Redis")
	}
	if o.TLSConfig != nil && o.Sentinel.MasterSet != "" {
		o.TLSConfig.ServerName = "" // of the first Sentinel; empty, it is the host that is dialed
		if secure != nil {
			o.TLSConfig.ServerName = secure.ServerName
		}
		o.Sentinel.TLSConfig = o.TLSConfig // rueidis has no default for it
	}
	return o, nil
}

// Connect returns a client that has had an answer. A *ConfigError is a mistake that
// waiting does not mend; any other error names the addresses.
func Connect(ctx context.Context, o rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	connected := make(chan result, 1)
	go func() { // for a server may take a connection and never answer
		client, err := connect(ctx, o)
		connected <- result{client, err}
	}()
	var r result
	select {
	case r = <-connected:
	case <-ctx.Done():
		go func() { // which has bounds of its own
			if r := <-connected; r.err == nil {
				r.client.Close()
			}
		}()
		r.err = context.Cause(ctx)
	}
	if r.err != nil && !errors.As(r.err, new(*ConfigError)) {
		r.err = fmt.Errorf("redis: %s: %w", strings.Join(o.InitAddress, ", "), r.err)
	}
	return r.client, r.err
}

func connect(ctx context.Context, o rueidis.ClientOption) (rueidis.Client, error) {
	o.DisableCache = true
	o.DisableRetry = true // the writer decides what may be sent twice
	o.ClientName = "sluice"
	o.PipelineMultiplex = -1 // one connection, or batches overtake each other
	o.AlwaysPipelining = true
	o.RingScaleEachConn = 8
	o.ReadBufferEachConn = 32 << 10
	o.WriteBufferEachConn = 256 << 10
	if o.ConnWriteTimeout == 0 {
		o.ConnWriteTimeout = answerTimeout
	}
	if o.Dialer.Timeout == 0 {
		o.Dialer.Timeout = 5 * time.Second
	}
	if o.Dialer.KeepAlive == 0 {
		o.Dialer.KeepAlive = time.Second // also how often an idle connection is tried
	}
	o.Sentinel.Dialer = o.Dialer             // rueidis has no default for it
	o.ClusterOption.MaxMovedRedirections = 5 // a server may send one round in a circle
	guard(&o)
	client, err := rueidis.NewClient(o)
	if err == nil {
		if err = client.Do(ctx, client.B().Ping().Build()).Error(); err != nil {
			client.Close()
		}
	}
	if err != nil {
		return nil, classify(err)
	}
	return client, nil
}

// classify makes a *ConfigError of what is a mistake in the settings.
func classify(err error) error {
	text := err.Error()
	var unknown *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var dns *net.DNSError
	switch {
	case strings.HasPrefix(text, "WRONGPASS"), strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "AUTH "), strings.HasPrefix(text, "ERR AUTH"):
		return &ConfigError{Login, err}
	case strings.HasPrefix(text, "NOPERM"):
		return &ConfigError{Rights, err}
	case strings.Contains(text, "DB index is out of range"), strings.Contains(text, "SELECT is not allowed in cluster mode"):
		return &ConfigError{Database, err}
	case strings.HasPrefix(text, "unknown command") && strings.Contains(text, "SENTINEL"):
		return &ConfigError{NoSentinel, err}
	case errors.As(err, &unknown):
		return &ConfigError{Untrusted, err}
	case errors.As(err, &alert):
		return &ConfigError{NotTrusted, err}
	case errors.As(err, &record):
		return &ConfigError{NoTLS, err}
	case errors.As(err, &dns) && dns.IsNotFound:
		return &Error{NoHost, err}
	}
	return err
}
