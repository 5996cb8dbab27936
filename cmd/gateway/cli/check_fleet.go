// This file says what a fleet would do with the settings, and looks whether it would take this process.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/fleet"
	"sluice/sinks/redis"
)

// beatWait is how long `gateway check -online` waits for beats, of which each member has one a second.
const beatWait = 2500 * time.Millisecond

// fleetPlan is what the settings ask all members for. Without a shard count it is what the fleet has.
func fleetPlan(cfg *config.Config, broker Broker) fleet.Plan {
	return fleet.Plan{Shards: cfg.Shards.Count, Intents: uint64(cfg.Intents), Format: broker.Name + " " + broker.format(cfg)}
}

// fleetLines says what a fleet would do with the settings; nothing if they ask for none.
func fleetLines(cfg *config.Config, broker Broker) []string {
	if !cfg.Shards.Auto {
		return nil
	}
	f, p := &cfg.Fleet, fleetPlan(cfg, broker)
	as := fmt.Sprintf("member %s with weight %d", memberName(cfg), f.Weight)
	if f.Zone != "" {
		as += " in zone " + f.Zone
	}
	count := "the shard count of the fleet, or what Discord recommends to the first"
	if p.Shards > 0 {
		count = fmt.Sprintf("shards.count %d (which may have been resharded since)", p.Shards)
	}
	moves := fmt.Sprintf("fleet: the others take its shards over after %v without a beat; shards move to balance the fleet %v after the last member has joined or left, %d at a time", f.Death, f.Settle, f.Moves)
	if f.Return > 0 {
		moves += fmt.Sprintf("; those of a member that is gone wait %v for one of its name", f.Return)
	}
	return []string{
		fmt.Sprintf("fleet: it runs as %s, with all processes that have the same token, shard_store.prefix %q and Redis; all need %s, intents %d and format %q", as, cfg.ShardStore.Prefix, count, p.Intents, p.Format),
		moves,
	}
}

// misfit adds to a refusal for the shard count the setting, and what it is to be.
func misfit(err error) error {
	if e := (*fleet.MisfitError)(nil); errors.As(err, &e) && e.Setting == "shard count" {
		return fmt.Errorf("%w: set shards.count to %s, or remove it", err, e.Theirs)
	}
	return err
}

// checkFleet looks at the fleet, which this process does not join, and prints what it would find there.
func checkFleet(ctx context.Context, cfg *config.Config, broker Broker, stdout, stderr io.Writer) int {
	if !cfg.Shards.Auto {
		return exitOK
	}
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	c, err := newCoordinator(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintf(stderr, "error: %s\n", cfg.Secrets().Redact(explain(err)))
		return exitUsage
	}
	defer c.Close()
	text, err := lookAtFleet(ctx, c, cfg, fleetPlan(cfg, broker))
	switch {
	case err == nil:
		fmt.Fprintln(stdout, cfg.Secrets().Redact(printableLine(text)))
		return exitOK
	case errors.As(err, new(*fleet.MisfitError)):
		fmt.Fprintf(stderr, "error: %s\n", cfg.Secrets().Redact(printableLine(misfit(err).Error())))
		return exitUsage
	}
	if conf := (*redis.ConfigError)(nil); errors.As(err, &conf) {
		fmt.Fprintf(stderr, "error: redis.urls: %s\n", cfg.Secrets().Redact(explain(err)))
		return exitUsage
	}
	fmt.Fprintf(stderr, "error: fleet: it cannot be looked at: %s\n", cfg.Secrets().Redact(explain(err)))
	return exitFailure
}

// lookAtFleet says who runs, and what this process would get. Settings that are not theirs are a *fleet.MisfitError.
func lookAtFleet(ctx context.Context, c fleet.Coordinator, cfg *config.Config, plan fleet.Plan) (string, error) {
	before, err := c.Look(ctx, 0)
	if err != nil {
		return "", err
	}
	beats := make(map[string]int64, len(before.Members))
	for _, m := range before.Members {
		if m.State != fleet.Deposed {
			beats[m.Incarnation] = m.Beat
		}
	}
	v := before
	if len(beats) > 0 {
		select {
		case <-time.After(beatWait):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if v, err = c.Look(ctx, 0); err != nil {
			return "", err
		}
	}
	owned := make(map[string]int)
	for _, s := range v.Shards {
		owned[s.Owner.Incarnation]++
	}
	var run, silent []string
	weights, name := cfg.Fleet.Weight, ""
	for _, m := range v.Members {
		if m.State == fleet.Deposed {
			continue
		}
		if beat, known := beats[m.Incarnation]; known && beat == m.Beat {
			silent = append(silent, m.Name)
			continue
		}
		name = m.Name
		what := fmt.Sprintf("%s with %s", m.Name, plural(owned[m.Incarnation], "shard"))
		if m.State == fleet.Draining {
			what += ", draining"
		} else {
			weights += max(m.Weight, 1)
		}
		run = append(run, what)
	}
	also := ""
	if len(silent) > 0 {
		also = fmt.Sprintf("; without a beat: %s, dead after %v of it", strings.Join(silent, ", "), cfg.Fleet.Death)
	}
	if len(run) == 0 {
		return "fleet: ok: no member runs" + also + ": this process would run all shards", nil
	}
	if plan.Shards == 0 || v.Plan.Holds(plan.Shards) { // as Join
		plan.Shards = v.Plan.Shards
	}
	if err := fleet.Misfit(plan, v.Plan, name); err != nil {
		return "", err
	}
	return fmt.Sprintf("fleet: ok: %s (%s)%s; the fleet has %s, generation %d; this process would get about %d of them",
		plural(len(run), "member"), strings.Join(run, "; "), also, plural(v.Plan.Shards, "shard"), v.Plan.Generation, v.Plan.Shards*cfg.Fleet.Weight/weights), nil
}
