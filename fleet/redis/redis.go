// Package redis has in Redis what the members of a fleet have together.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"sluice/fleet"
)

// Coordinator is a fleet.Coordinator in Redis, whose Connect and Bot are required. All of its keys have the
// hash tag {<prefix>sluice:<bot>}, so that they lie in one slot of a Cluster (names says what is
// in them), and so does its channel. They expire together, a week after the fleet's last beat.
//
// What is in the keys and is none of its own is logged, once for each process, and left out: a member that
// cannot be read is not shown, the shard of such a row is free, its checkpoint is none. A key of another type is an
// error that names it.
type Coordinator struct {
	// Connect returns a client, which the coordinator closes. It is called again after a
	// failure.
	Connect func(ctx context.Context) (rueidis.Client, error)
	Prefix  string
	Bot     string       // the fingerprint of token and server
	Log     *slog.Logger // nil: nothing is logged

	// For tests, in ms: what is added to the time of Redis, and what is taken for it if that is not 0.
	skew, still atomic.Int64

	mu         sync.Mutex
	client     rueidis.Client // nil: not connected
	connecting chan struct{}  // closed when an attempt is over; nil: there is none
	closed     bool
	told       map[string]bool // what has been logged of the keys
}

const (
	// timeout bounds one call of Redis: it is made again.
	timeout = 5 * time.Second
	// chunk is how many shards one call of a script is about, page how many rows it reads.
	chunk, page = 200, 1000
	// pause is that between the attempts of Watch to connect.
	pause = time.Second
	// maxTold bounds what is known to be logged.
	maxTold = 1000
)

var _ fleet.Coordinator = (*Coordinator)(nil)

var errClosed = errors.New("the coordinator is closed")

func (c *Coordinator) key(name string) string {
	return "{" + c.Prefix + "sluice:" + c.Bot + "}:" + name
}

// run calls a script with arguments of its own, and returns its reply: an array.
func (c *Coordinator) run(ctx context.Context, operation string, script *rueidis.Lua, args ...string) (reply []rueidis.RedisMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := c.connected(ctx)
	if err == nil {
		keys := make([]string, len(names))
		for i, name := range names {
			keys[i] = c.key(name)
		}
		clock := decimal(c.skew.Load())
		if still := c.still.Load(); still != 0 {
			clock = "=" + decimal(still)
		}
		args = append([]string{clock, c.key("events")}, args...)
		if reply, err = script.Exec(ctx, client, keys, args).ToArray(); err == nil && len(reply) == 0 {
			err = errors.New("an empty reply")
		}
		if err != nil && stale(err) {
			c.drop(client)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fleet: redis: %s: %w", operation, err)
	}
	switch status, _ := reply[0].ToString(); status {
	case "ok":
		return reply[1:], nil
	case "deposed":
		return nil, fleet.ErrDeposed
	case "changed":
		return nil, fleet.ErrChanged
	case "misfit":
		return nil, misfit(strs(reply[1:]))
	case "starts":
		return nil, starts(strs(reply[1:]))
	default:
		return nil, fmt.Errorf("fleet: redis: %s: reply %.40q", operation, status)
	}
}

// stale reports whether a client is of no use after the error: the connection is gone, or leads to a server
// that is no master any more.
func stale(err error) bool {
	if e, answered := rueidis.IsRedisErr(err); answered {
		return strings.HasPrefix(e.Error(), "READONLY") || strings.HasPrefix(e.Error(), "MASTERDOWN")
	}
	return !errors.Is(err, context.Canceled)
}

// connected returns the client; one goroutine at a time makes it.
func (c *Coordinator) connected(ctx context.Context) (rueidis.Client, error) {
	for {
		c.mu.Lock()
		client, other := c.client, c.connecting
		if c.closed {
			c.mu.Unlock()
			return nil, errClosed
		}
		if client == nil && other == nil {
			c.connecting = make(chan struct{})
		}
		c.mu.Unlock()
		if client != nil {
			return client, nil
		}
		if other == nil {
			return c.connect(ctx)
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (c *Coordinator) connect(ctx context.Context) (rueidis.Client, error) {
	client, err := c.Connect(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.connecting)
	c.connecting = nil
	switch {
	case err != nil:
		return nil, err
	case c.closed:
		client.Close()
		return nil, errClosed
	}
	c.client = client
	return client, nil
}

// drop gives up a client, if it is still the one that is used.
func (c *Coordinator) drop(client rueidis.Client) {
	c.mu.Lock()
	used := c.client == client
	if used {
		c.client = nil
	}
	c.mu.Unlock()
	if used {
		go client.Close() // which waits for the answers to others
	}
}

// Close ends the connection. Calls return an error from then on.
func (c *Coordinator) Close() error {
	c.mu.Lock()
	client := c.client
	c.client, c.closed = nil, true
	c.mu.Unlock()
	if client != nil {
		client.Close()
	}
	return nil
}

// Watch calls changed after each notice, and whenever it has begun to listen, for what was told before that was not
// heard. It has a connection of its own.
func (c *Coordinator) Watch(ctx context.Context, changed func()) {
	var told atomic.Bool // since it has listened last
	for ctx.Err() == nil {
		err := c.listen(ctx, func() { told.Store(false); changed() })
		if err != nil && ctx.Err() == nil && c.Log != nil && !told.Swap(true) {
			c.Log.Warn("notices of the fleet are not heard; it is read once a second", "error", fmt.Errorf("fleet: redis: watch: %w", err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (c *Coordinator) listen(ctx context.Context, changed func()) error {
	within, cancel := context.WithTimeout(ctx, timeout)
	client, err := c.Connect(within)
	cancel()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx = rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" {
			changed()
		}
	})
	return client.Receive(ctx, client.B().Subscribe().Channel(c.key("events")).Build(), func(rueidis.PubSubMessage) { changed() })
}

// warn logs that a part of a key is nothing of ours, once.
func (c *Coordinator) warn(name, what string, err error) {
	if c.Log == nil {
		return
	}
	id := name + " " + what
	c.mu.Lock()
	known := c.told[id] || len(c.told) >= maxTold
	if !known {
		if c.told == nil {
			c.told = make(map[string]bool)
		}
		c.told[id] = true
	}
	c.mu.Unlock()
	if !known {
		c.Log.Warn("what the fleet has in Redis is damaged", "key", c.key(name), "of", what, "error", err)
	}
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// strs returns the strings of a reply, and empty ones for what is none.
func strs(reply []rueidis.RedisMessage) []string {
	all := make([]string, len(reply))
	for i := range reply {
		all[i], _ = reply[i].ToString()
	}
	return all
}

// first is the first string of a reply.
func first(reply []rueidis.RedisMessage) string {
	if len(reply) == 0 {
		return ""
	}
	s, _ := reply[0].ToString()
	return s
}
