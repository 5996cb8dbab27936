// This file is `gateway fleet`: what a member sees of its fleet, and what it is asked to do there.

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/status"
)

// fleetActions are what `gateway fleet` can ask for.
var fleetActions = []string{"drain", "rebalance"}

// drainPoll is how often it is asked how far a member has drained.
const drainPoll = 500 * time.Millisecond

// runFleet runs `gateway fleet`.
func runFleet(ctx context.Context, cmd command, cfg *config.Config, stdout, stderr io.Writer) int {
	client, err := cmd.reach(cfg)
	if err == nil {
		defer client.Close()
		f := fleetClient{asker{&cmd, cfg, client}, stdout}
		switch {
		case len(cmd.args) == 0:
			err = f.show(ctx, cmd.json)
		case cmd.args[0] == "drain":
			err = f.drain(ctx)
		default:
			err = f.rebalance(ctx)
		}
		if err != nil && ctx.Err() != nil {
			err = errors.New("interrupted; the member goes on")
		}
	}
	if err != nil {
		printError(stderr, cfg, err)
		return exitFailure
	}
	return exitOK
}

// fleetClient asks a member.
type fleetClient struct {
	asker
	stdout io.Writer
}

// document returns the fleet as the process sees it, as text and read, and another shard count.
func (c *fleetClient) document(ctx context.Context) (json.RawMessage, *status.Fleet, *status.Reshard, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, statusTimeout, fmt.Errorf("no answer within %v", statusTimeout))
	defer cancel()
	body, code, err := c.get(ctx, "/status?limit=1")
	if err == nil && code != 200 {
		err = refused("/status", code)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	var d struct {
		Version int
		Fleet   json.RawMessage
		Reshard *status.Reshard
	}
	var f *status.Fleet
	if err = json.Unmarshal(body, &d); err == nil {
		err = json.Unmarshal(d.Fleet, &f)
	}
	switch {
	case err != nil:
		return nil, nil, nil, fmt.Errorf("/status is not answered with a document of a gateway: %w", err)
	case d.Version != status.Version:
		return nil, nil, nil, fmt.Errorf("the process runs a version whose document this program cannot show (%d, not %d)", d.Version, status.Version)
	case f == nil:
		return nil, nil, nil, errors.New(`the process is in no fleet: it runs alone, since shards.ids is not "auto"`)
	}
	return d.Fleet, f, d.Reshard, nil
}

// joined is document of a process that is a member.
func (c *fleetClient) joined(ctx context.Context) (*status.Fleet, *status.Reshard, error) {
	_, f, r, err := c.document(ctx)
	if err == nil && !f.Joined {
		err = fmt.Errorf("the process waits to join its fleet: %s", f.Why)
	}
	return f, r, err
}

func (c *fleetClient) show(ctx context.Context, asJSON bool) error {
	text, f, r, err := c.document(ctx)
	switch {
	case err != nil:
		return err
	case asJSON:
		_, err = fmt.Fprintf(c.stdout, "%s\n", text)
		return err
	}
	columns, color := 0, false
	if t := terminalOf(c.stdout); t != nil {
		columns, _ = t.size()
		color = t.color
	}
	_, err = io.WriteString(c.stdout, fleetTable(f, r, time.Now(), columns, color))
	return err
}

// ask has the member do something.
func (c *fleetClient) ask(ctx context.Context, do func(*admin.Client, context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	return c.cmd.unreached(c.cfg, do(c.client, ctx))
}

// drain has the member give its shards away, and shows how far it is until it has none.
func (c *fleetClient) drain(ctx context.Context) error {
	if _, _, err := c.joined(ctx); err != nil {
		return err
	}
	if err := c.ask(ctx, (*admin.Client).Drain); err != nil {
		return err
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	waits := false
	for shown := -1; ; {
		f, _, err := c.joined(ctx)
		if err != nil {
			return fmt.Errorf("it was asked to drain, and then: %w", err)
		}
		left, known := drains(f)
		switch {
		case !known && !f.Confirmed && !waits:
			fmt.Fprintf(c.stdout, "%s drains once Redis answers: %s\n", printableLine(f.Member), printableLine(cmp.Or(f.Error, "no answer yet")))
			waits = true
		case !known: // the table is older than the question
		case left == 0:
			fmt.Fprintf(c.stdout, "%s has no shards any more, and takes none until its process is restarted\n", printableLine(f.Member))
			return nil
		case f.Others() == 0:
			return fmt.Errorf("there is no other member to take %s: this one runs them on, and gives them to the first that joins", counted(left, "shard"))
		case left != shown:
			fmt.Fprintf(c.stdout, "%s left, %s\n", counted(left, "shard"), status.Count(len(f.Moves))+" moving")
			shown = left
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drains returns how many shards a member that drains still has, those included that others have not taken yet.
func drains(f *status.Fleet) (left int, known bool) {
	own := f.Own()
	if own == nil || own.State != "draining" {
		return 0, false
	}
	left = own.Shards
	for _, m := range f.Moves {
		if m.From == f.Incarnation && m.To != f.Incarnation {
			left++
		}
	}
	return min(left, f.Plan.Shards), true
}

// rebalance has the member give what it has above its share.
func (c *fleetClient) rebalance(ctx context.Context) error {
	f, r, err := c.joined(ctx)
	if err != nil {
		return err
	}
	if r != nil && r.Fleet != nil {
		return errResharded
	}
	if err := c.ask(ctx, (*admin.Client).Rebalance); err != nil {
		return err
	}
	own, most := f.Own(), (*status.FleetMember)(nil)
	for i := range f.Members {
		if m := &f.Members[i]; m.State == "up" && (most == nil || float64(m.Shards)-m.Share > float64(most.Shards)-most.Share) {
			most = m
		}
	}
	switch {
	case own == nil:
		fmt.Fprintf(c.stdout, "%s gives what it has above its share\n", printableLine(f.Member))
	case surplus(own) > 0:
		fmt.Fprintf(c.stdout, "%s has %s, and its share is %s: it gives the rest to others now\n", printableLine(f.Member), counted(own.Shards, "shard"), shareText(own.Share))
	default:
		text := fmt.Sprintf("%s has %s, and its share is %s: it has nothing to give", f.Member, counted(own.Shards, "shard"), shareText(own.Share))
		if surplus(most) > 0 {
			text += fmt.Sprintf("; %s has %s: ask that one", most.Name, status.Count(most.Shards))
		}
		fmt.Fprintln(c.stdout, printableLine(text))
	}
	return nil
}

// surplus returns how many whole shards a member has above its share.
func surplus(m *status.FleetMember) int { return int(float64(m.Shards) - m.Share) }
