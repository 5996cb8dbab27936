// This file asks Discord where its gateway is, and asks again when it has moved.

package engine

import (
	"context"
	"errors"
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
// final or ctx is done.
func (e *Engine) askGateway(ctx context.Context) (wire.GatewayBot, error) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for failures := 1; ; failures++ {
		info, err := e.opts.API.GatewayBot(ctx)
		if err == nil {
			return info, nil
		}
		if ctx.Err() != nil {
			return info, ctx.Err()
		}
		wait := backoff(failures, r)
		var answer *wire.APIError
		if errors.As(err, &answer) {
			if answer.Fatal() {
				return info, fatalStatus(answer.Status)
			}
			wait = max(wait, answer.RetryAfter)
			if answer.Cloudflare {
				wait = max(wait, between(time.Minute, 2*time.Minute, r))
			}
		}
		e.opts.Log.Warn("GET /gateway/bot failed", "error", err, "wait", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return info, ctx.Err()
		}
	}
}

// refreshGateway asks once more for the address and the budget of identifies.
func (e *Engine) refreshGateway(ctx context.Context, env *environment) {
	info, err := e.askGateway(ctx)
	if err != nil {
		env.gateway.done(nil)
		if ctx.Err() == nil {
			env.fail(err)
		}
		return
	}
	u, err := e.mainURL(info)
	if err != nil {
		e.opts.Log.Warn("GET /gateway/bot answered with an unusable address", "error", err)
	}
	env.gateway.done(u)
	env.limit(info.Limit)
}

// limit takes Discord's figures about Identifies. More buckets than shards are of no use.
func (env *environment) limit(l wire.SessionStartLimit) {
	l.MaxConcurrency = min(l.MaxConcurrency, env.shards)
	env.identify.setLimit(l, time.Now())
}

// mainURL returns the URL that new sessions connect to.
func (e *Engine) mainURL(info wire.GatewayBot) (*url.URL, error) {
	base := e.opts.GatewayURL
	if base == "" {
		base = info.URL
	}
	return wire.GatewayURL(base, e.opts.Version, e.opts.Compression)
}
