// This file is `gateway reshard`: another shard count, in the process and for who asks it.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/status"
	"sluice/engine"
)

// Reshard plans another shard count, or begins with it.
func (r *reloader) Reshard(ctx context.Context, shards int, begin bool) (plan []string, err error) {
	switch {
	case r.cfg.Shards.IDs != nil && !r.cfg.Shards.Auto:
		return nil, errors.New("shards.ids is set: another shard count needs all shards in one process, without shards.ids")
	case r.cfg.ShardStore.Compat:
		return nil, errors.New("shard_store.compat: sessions that the old gateway reads, too, cannot be replaced at once: set it to false")
	}
	e, m, err := r.running()
	if err != nil {
		return nil, err
	}
	if m != nil {
		return m.planReshard(ctx, e, shards, begin)
	}
	p, err := e.PlanReshard(ctx, shards)
	if err != nil {
		return nil, err
	}
	plan = planLines(p)
	if !begin {
		return plan, nil
	}
	ended := make(chan error, 1)
	go func() {
		err := e.Reshard(context.Background(), engine.ReshardOptions{Shards: shards})
		ended <- err
		if err == nil && r.cfg.Shards.Count > 0 && r.cfg.Shards.Count != shards {
			r.log.Warn("resharded: the settings have another shard count, which does not count while it stays as it is", "shards.count", r.cfg.Shards.Count, "shards", shards)
		}
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for { // what comes next asks how it goes
		if s := e.Resharding(); s.Stage != engine.ReshardNone {
			return plan, nil
		}
		select {
		case err := <-ended:
			return plan, err
		case <-tick.C:
		case <-ctx.Done():
			return plan, ctx.Err()
		}
	}
}

// CallOff ends what Reshard has begun.
func (r *reloader) CallOff(ctx context.Context) error {
	e, m, err := r.running()
	if err != nil {
		return err
	}
	if m != nil {
		return m.fleet.CallOff(ctx)
	}
	return e.CallOff()
}

// running returns the engine, and this process as a member of a fleet, if it is one.
func (r *reloader) running() (*engine.Engine, *membership, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.engine == nil {
		return nil, nil, errors.New("the shards have not been started yet")
	}
	return r.engine, r.member, nil
}

func planLines(p engine.ReshardPlan) []string {
	lines := []string{fmt.Sprintf("%d shards now, %d to be", p.From, p.To)}
	starts := fmt.Sprintf("session starts: %d needed, %d left beside the reserve", p.To, p.Left)
	if !p.Reset.IsZero() {
		starts += ", until " + p.Reset.UTC().Format("2006-01-02 15:04 UTC")
	}
	lines = append(lines, starts)
	if p.Recommended > 0 {
		lines = append(lines, fmt.Sprintf("Discord recommends %d shards", p.Recommended))
	}
	lines = append(lines, fmt.Sprintf("about %v until the new shards are connected, with a max_concurrency of %d; the old ones go on meanwhile",
		p.Connecting.Round(time.Second), p.MaxConcurrency))
	if !p.Persisted {
		lines = append(lines, "nothing is persisted here: a restart goes by shards.count")
	}
	return lines
}

// reshardCommand asks the process for another shard count, and prints how it goes.
func reshardCommand(ctx context.Context, cmd command, client *admin.Client, stdout io.Writer) error {
	if cmd.cancel {
		if err := client.CallOff(ctx); err != nil {
			return err
		}
		fmt.Fprintln(stdout, "called off: the shards stay as they are")
		return nil
	}
	shards, _ := strconv.Atoi(cmd.args[0]) // see checkControl
	plan, err := client.Reshard(ctx, shards, cmd.yes)
	if err != nil {
		return err
	}
	for _, line := range plan {
		fmt.Fprintln(stdout, printableLine(line))
	}
	if !cmd.yes {
		fmt.Fprintf(stdout, "nothing is changed; gateway reshard %d -yes begins\n", shards)
		return nil
	}
	return followReshard(ctx, client, shards, stdout)
}

// reshardLine says how far a resharding is.
func reshardLine(r *status.Reshard) string {
	line, f := r.Stage, r.Fleet
	switch {
	case r.Stage == string(engine.ReshardConnects):
		line += fmt.Sprintf(": %d of %d ready", r.Ready, r.To)
	case f == nil:
	case r.Stage == string(engine.ReshardCompares):
		line += fmt.Sprintf(": %d of %s", f.Agreed, plural(f.Members, "member")) + " agree"
	case r.Stage == string(engine.ReshardSwitches):
		line += fmt.Sprintf(": %d of %s", f.Prepared, plural(f.Members, "member")) + " prepared"
	default:
		line += fmt.Sprintf(": %d of %d classes of shards are at one member", f.Gathered, f.Classes)
	}
	if r.Failures > 0 && r.Error != "" {
		line += "; the last switch was taken back: " + r.Error
	} else if r.Error != "" {
		line += "; " + r.Error
	}
	return line
}

// reshardLook is how often the process is asked how it goes.
const reshardLook = time.Second / 2

// followReshard prints how a resharding goes, until it has ended.
func followReshard(ctx context.Context, client *admin.Client, shards int, stdout io.Writer) error {
	last := ""
	for {
		look, cancel := context.WithTimeout(ctx, controlTimeout)
		s, err := client.Status(look, status.Query{Limit: 1})
		cancel()
		if ctx.Err() != nil {
			return errors.New("interrupted; the resharding goes on, and gateway reshard -cancel calls it off")
		}
		if err != nil {
			return fmt.Errorf("how it goes on is not known: %w", err)
		}
		r := s.Reshard
		switch {
		case r == nil || r.To != shards:
		case r.Stage != "":
			if line := reshardLine(r); line != last {
				fmt.Fprintln(stdout, printableLine(line))
				last = line
			}
		case s.Shards.Count == shards:
			fmt.Fprintf(stdout, "%d shards are in force; %d events were shown by both, %d by the old ones alone, %d by the new ones alone\n", shards, r.Agreed, r.OldAlone, r.NewAlone)
			return nil
		case r.Error != "":
			return errors.New(r.Error)
		}
		select {
		case <-time.After(reshardLook):
		case <-ctx.Done(): // see above
		}
	}
}
