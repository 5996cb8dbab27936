// This file asks Discord where its gateway is, and asks again when it has moved.

package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"sluice/wire"
)

// refreshPause is the least time between two requests for the gateway's
// address while shards cannot connect.
const refreshPause = 30 * time.Second

// gatewayAddress is the main URL of the gateway. Any goroutine may use it.
type gatewayAddress struct {
	mu     sync.Mutex
	main   *url.URL
	asked  time.Time
	asking bool
	ask    func() // asks again, on a goroutine of its own; calls done; nil: the URL is fixed
}

// url returns the main URL with its query.
func (a *gatewayAddress) url() *url.URL {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.main
}

// refresh asks for the URL again, at most every refreshPause. It does not wait.
func (a *gatewayAddress) refresh() {
	a.mu.Lock()
	now := time.Now()
	due := a.ask != nil && !a.asking && now.Sub(a.asked) >= refreshPause
	if due {
		a.asking, a.asked = true, now
	}
	a.mu.Unlock()
	if due {
		a.ask()
	}
}

// done takes the answer to a request; nil: there was none.
func (a *gatewayAddress) done(u *url.URL) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asking = false
	if u != nil {
		a.main = u
	}
}

// askGateway calls GET /gateway/bot until it has an answer, the answer is
// final or ctx is done. It returns the main URL, too: main, if there is one and the
// answer names an address that must not get the token.
func (e *Engine) askGateway(ctx context.Context, main *url.URL) (info wire.GatewayBot, u *url.URL, err error) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for failures := 1; ; failures++ {
		if info, err = e.opts.API.GatewayBot(ctx); err == nil {
			u, err = e.mainURL(info)
			if err != nil && main != nil {
				e.opts.Log.Warn("GET /gateway/bot names an address that is refused, connecting to the last one", "error", err)
				return info, main, nil
			}
		}
		if err == nil {
			return info, u, nil
		}
		if ctx.Err() != nil {
			return info, nil, ctx.Err()
		}
		wait := backoff(failures, r)
		var answer *wire.APIError
		if errors.As(err, &answer) {
			if answer.Fatal() {
				return info, nil, &FatalError{Shard: -1, Status: answer.Status}
			}
			wait = max(wait, answer.RetryAfter)
			if answer.Cloudflare {
				wait = max(wait, between(time.Minute, 2*time.Minute, r))
			}
		}
		e.opts.Log.Warn("GET /gateway/bot failed", "error", err, "wait", wait.Round(time.Millisecond))
		for left := wait; left > 0; left -= watchEvery { // an answer may ask for a day
			select {
			case <-time.After(min(left, watchEvery)):
			case <-ctx.Done():
				return info, nil, ctx.Err()
			}
			if left > watchEvery {
				e.opts.Log.Info("waiting before the next GET /gateway/bot", "wait", (left - watchEvery).Round(time.Second))
			}
		}
	}
}

// refreshGateway asks once more for the address and the budget of identifies.
func (e *Engine) refreshGateway(ctx context.Context, env *environment) {
	info, u, err := e.askGateway(ctx, env.gateway.url())
	if err != nil {
		env.gateway.done(nil)
		if ctx.Err() == nil {
			env.fail(err)
		}
		return
	}
	env.gateway.done(u)
	env.limit(info.Limit)
}

// limit takes Discord's figures about Identifies. More buckets than shards are of no use.
func (env *environment) limit(l wire.SessionStartLimit) {
	l.MaxConcurrency = min(l.MaxConcurrency, max(env.inForce.Load().shards, int(env.next.Load())))
	env.identify.setLimit(l, time.Now())
}

// mainURL returns the URL that new sessions connect to. One that the API names is of the
// API's domain, of Discord or of Options.GatewayHosts.
func (e *Engine) mainURL(info wire.GatewayBot) (*url.URL, error) {
	base := e.opts.GatewayURL
	if base == "" {
		base = info.URL
		api, err := url.Parse(e.opts.API.Base)
		if err == nil {
			err = wire.CheckURL(base, api, append(wire.DiscordDomains(), e.opts.GatewayHosts...))
		}
		if err != nil {
			return nil, fmt.Errorf("engine: the address that the API names is refused: %w", &HostError{err})
		}
	}
	return wire.GatewayURL(base, e.opts.Version, e.opts.Compression)
}

// resumeURL returns the resume_gateway_url of READY or of a stored session, or nothing for
// one that must not get the token: the main URL then takes its place.
func (s *shard) resumeURL(base string) string {
	if base == "" {
		return ""
	}
	if _, err := s.gatewayURL(base); err != nil {
		s.log.Warn("resume_gateway_url is refused, resuming through the main URL", "error", &HostError{err})
		return ""
	}
	return base
}

// gatewayURL returns the URL to resume at, which is checked against the main one.
func (s *shard) gatewayURL(base string) (*url.URL, error) {
	if err := wire.CheckURL(base, s.env.gateway.url(), s.env.opts.GatewayHosts); err != nil {
		return nil, err
	}
	return wire.GatewayURL(base, s.env.opts.Version, s.env.opts.Compression)
}
