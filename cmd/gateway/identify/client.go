// This file asks another process for turns.

package identify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/gateway/admin"
)

const (
	dialFor  = 10 * time.Second
	firstTry = 500 * time.Millisecond // after a failure
	lastTry  = 15 * time.Second
)

// Client asks a service for turns: Permit is an engine's Options.Permit.
type Client struct {
	url    string
	http   http.Client
	log    *slog.Logger
	first  time.Duration // until it is tried again
	failed admin.Occasional
}

// NewClient returns a client of the service at an address such as http://host:7070.
func NewClient(address string, log *slog.Logger) *Client {
	dialer := &net.Dialer{Timeout: dialFor, KeepAliveConfig: keepAlive}
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: dialFor,
		DisableKeepAlives:   true, // one that has been idle may be dead
		Protocols:           new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true)
	return &Client{
		url: strings.TrimRight(address, "/") + "/?shard=",
		http: http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log: log, first: firstTry,
	}
}

// Permit returns nil when the shard may identify, as long as that takes. The error is that of ctx.
func (c *Client) Permit(ctx context.Context, shard int) error {
	for wait := c.first; ; wait = min(2*wait, lastTry) {
		err := c.ask(ctx, shard)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return nil
		}
		if n, ok := c.failed.Now(time.Now()); ok {
			c.log.Warn("identify: no turn from identify.queue; trying again", "shard", shard, "times", n, "error", err)
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask returns nil if the answer is one of success.
func (c *Client) ask(ctx context.Context, shard int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+strconv.Itoa(shard), nil)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
	if line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n"); line != "" {
		return fmt.Errorf("the answer is %s: %.100q", answer.Status, line)
	}
	return errors.New("the answer is " + answer.Status)
}
