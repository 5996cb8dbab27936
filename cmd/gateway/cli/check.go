// This file is `gateway check`: it says what would be started, and asks Discord
// whether it would be let in.

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/wire"
)

// onlineTimeout bounds the question to Discord, and brokerTimeout that to a broker.
const (
	onlineTimeout = 20 * time.Second
	brokerTimeout = 15 * time.Second
)

// check checks what the settings name, asks Discord, the broker and the store if online, and
// prints a summary if nothing stands in the way of a start. The exit code is that of the first
// trouble.
func check(ctx context.Context, cfg *config.Config, brokers registry, online bool, stdout, stderr io.Writer) int {
	secrets := cfg.Secrets()
	mistakes, warnings := checkPaths(cfg, brokers)
	for _, w := range warnings {
		fmt.Fprintf(stderr, "warning: %s\n", secrets.Redact(plain(w)))
	}
	for _, m := range mistakes {
		fmt.Fprintf(stderr, "error: %s\n", secrets.Redact(plain(m)))
	}
	code := exitOK
	if len(mistakes) > 0 {
		code = exitUsage
	}
	if online {
		code = cmp.Or(code, checkOnline(ctx, cfg, stdout, stderr), brokers.check(ctx, cfg, stdout, stderr), checkFleet(ctx, cfg, brokers.of(cfg), stdout, stderr))
	}
	if code != exitOK {
		return code
	}
	fmt.Fprintln(stdout, "ok: "+summary(cfg, brokers.of(cfg)))
	for _, line := range fleetLines(cfg, brokers.of(cfg)) {
		fmt.Fprintln(stdout, secrets.Redact(printableLine(line)))
	}
	for _, line := range cfg.Served() {
		fmt.Fprintln(stdout, secrets.Redact(line))
	}
	if asked := brokers.peers(cfg); !online && len(asked) > 0 {
		fmt.Fprintln(stdout, "not contacted: "+secrets.Redact(strings.Join(asked, ", "))+"; -online does")
	}
	return exitOK
}

// summary says in a line what would be started.
func summary(cfg *config.Config, b Broker) string {
	token := cfg.Origin("token")
	if token.Kind == config.FromDefault {
		token = cfg.Origin("token_file")
	}
	events := "all events"
	if cfg.Events != nil && len(cfg.Events) == 0 {
		events = "no events"
	} else if cfg.Events != nil {
		events = plural(len(cfg.Events), "event")
	}
	privileged := "none privileged"
	if p := cfg.Intents.Privileged(); p != 0 {
		privileged = "privileged: " + strings.ReplaceAll(p.String(), "|", ", ")
	}
	shards := "as many shards as Discord recommends"
	if cfg.Shards.Count > 0 {
		shards = plural(cfg.Shards.Count, "shard")
	}
	switch {
	case cfg.Shards.Auto:
		shards += ", in a fleet"
	case cfg.Shards.IDs != nil:
		shards += ", here " + config.FormatShardIDs(cfg.Shards.IDs)
	}
	return strings.Join([]string{
		"token from " + token.String(),
		events,
		fmt.Sprintf("intents %d (%s)", cfg.Intents, privileged),
		shards,
		"compression " + cfg.Compression.String(),
		fmt.Sprintf("broker %s (%s)", b.Name, b.format(cfg)),
	}, "; ")
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// checkOnline asks Discord for the gateway's address and holds its answer
// against the settings.
func checkOnline(ctx context.Context, cfg *config.Config, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, onlineTimeout)
	defer cancel()
	tls, err := cfg.TLS()
	if err != nil {
		fmt.Fprintf(stderr, "error: %s\n", cfg.Secrets().Redact(plain(err)))
		return exitUsage
	}
	api, err := newAPI(cfg, tls)
	if err != nil {
		fmt.Fprintf(stderr, "error: %s\n", cfg.Secrets().Redact(plain(err)))
		return exitUsage
	}
	if api == nil {
		fmt.Fprintln(stdout, "Discord: not asked, since gateway.url and shards.count are set, and api.host is not")
		return exitOK
	}
	defer api.Client.CloseIdleConnections()
	info, err := api.GatewayBot(ctx)
	if err != nil {
		return onlineTrouble(cfg.Secrets(), err, stderr)
	}
	limit := info.Limit
	if base, err := url.Parse(cfg.APIBase()); err == nil && cfg.Gateway.URL == "" {
		if err := wire.CheckURL(info.URL, base, append(wire.DiscordDomains(), cfg.Gateway.Hosts...)); err != nil {
			fmt.Fprintf(stderr, "error: gateway.hosts: the gateway's address that %s names is refused: %s\n", cfg.API.Host, cfg.Secrets().Redact(plain(err)))
			return exitFailure
		}
	}
	fmt.Fprintf(stdout, "Discord: ok: it recommends %s; %d of %d session starts left, anew in %s; max_concurrency %d; gateway %s\n",
		plural(info.Shards, "shard"), limit.Remaining, limit.Total, limit.ResetAfter.Round(time.Second), limit.MaxConcurrency, cfg.Secrets().Redact(info.URL))
	return checkAnswer(cfg, info, stderr)
}

// onlineTrouble says why Discord was not asked or did not answer.
func onlineTrouble(secrets config.Secrets, err error, stderr io.Writer) int {
	var refused *wire.APIError
	if errors.As(err, &refused) && refused.Fatal() {
		if refused.Status == http.StatusUnauthorized {
			fmt.Fprintln(stderr, "error: token: Discord refuses the token (401): it is wrong or was reset")
			return exitUnauthorized
		}
		fmt.Fprintf(stderr, "error: token: Discord refuses this bot (%d): %s\n", refused.Status, secrets.Redact(refused.Message))
		return exitForbidden
	}
	fmt.Fprintf(stderr, "error: GET /gateway/bot failed: %s\n", secrets.Redact(explain(err)))
	return exitFailure
}

// checkAnswer holds what Discord recommends against the settings.
func checkAnswer(cfg *config.Config, info wire.GatewayBot, stderr io.Writer) int {
	count := cfg.Shards.Count
	switch at := cfg.Origin("shards.count"); {
	case count == 0:
		count = info.Shards
	case count*5 < info.Shards*2:
		// The recommendation is about one shard for 1,000 guilds; 2,500 are the most.
		fmt.Fprintf(stderr, "%s: warning: shards.count: %d is probably refused (4011): at most 2,500 guilds fit on a shard, and Discord recommends %s\n",
			at, count, plural(info.Shards, "shard"))
	case info.Limit.MaxConcurrency > 1 && count%info.Limit.MaxConcurrency != 0:
		fmt.Fprintf(stderr, "%s: warning: shards.count: %d may be refused (4010): large bots need a multiple of the number that Discord gave them, such as %d\n",
			at, count, info.Limit.MaxConcurrency)
	}
	here := count
	if ids := cfg.Shards.IDs; ids != nil {
		here = len(ids)
		if last := ids[len(ids)-1]; last >= count {
			fmt.Fprintf(stderr, "%s: error: shards.ids: shard %d is not below the shard count, which is %d\n",
				cfg.Origin("shards.ids"), last, count)
			return exitUsage
		}
	}
	if here > info.Limit.Remaining {
		fmt.Fprintf(stderr, "warning: %s to start and %s left: the rest waits %s\n", plural(here, "shard"),
			plural(info.Limit.Remaining, "session start"), info.Limit.ResetAfter.Round(time.Second))
	}
	return exitOK
}
