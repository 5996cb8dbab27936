// This file is `gateway top` and `gateway tap`.

package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/term"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/status"
	"sluice/cmd/gateway/tap"
	"sluice/cmd/gateway/top"
	"sluice/sinks"
	"sluice/wire"
)

// follow shows a running process until somebody ends it.
func follow(ctx context.Context, cmd command, cfg *config.Config, stdin *os.File, stdout, stderr io.Writer) int {
	c, err := cmd.reach(cfg)
	if err == nil {
		defer c.Close()
		if cmd.name == "tap" {
			err = tapEvents(ctx, cmd, c, stdout, stderr)
		} else {
			err = showTop(ctx, c, stdin, stdout)
		}
	}
	if err != nil && ctx.Err() == nil {
		printError(stderr, cfg, cmd.unreached(cfg, err))
		return exitFailure
	}
	return exitOK
}

func showTop(ctx context.Context, c *admin.Client, stdin *os.File, stdout io.Writer) error {
	o := top.Options{In: stdin, Out: stdout, Fetch: func(ctx context.Context, q status.Query) (*status.Status, error) {
		return c.Status(ctx, q)
	}}
	if t := terminalOf(stdout); t == nil || !t.moves || !onFD(stdin, term.IsTerminal) {
		return top.Print(ctx, o)
	}
	return top.Run(ctx, o)
}

// tapEvents writes events to stdout, and how many were left out to stderr.
func tapEvents(ctx context.Context, cmd command, c *admin.Client, stdout, stderr io.Writer) error {
	filter, _ := tap.ParseFilter(cmd.tap) // see parseCommand
	known := append(wire.EventNames(), sinks.GapEvent)
	for _, name := range filter.Events {
		if !slices.Contains(known, name) { // it may be one that Discord has added
			fmt.Fprintf(stderr, "warning: -event: %.60q is not an event that Discord documents%s\n", name, didYouMean(name, known))
		}
	}
	if filter.Shards != nil {
		s, err := c.Status(ctx, status.Query{Limit: 1})
		if err != nil {
			return err
		}
		if id, n := slices.Max(filter.Shards), s.Shards.Count; n > 0 && id >= n {
			return fmt.Errorf("-shard: shard %d does not exist with a shard count of %d; ids run from 0 to %d", id, n, n-1)
		}
	}
	body, err := c.Get(ctx, "/tap?"+cmd.tap.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("the process has closed the stream: it stops, or this was read too slowly")
		case err != nil:
			return err
		case len(line) == 1: // nothing has passed for a while
			continue
		case line[0] != '{': // as at prometheus.address, where every path has the metrics
			return errors.New("the answer is no stream of events: -address must be http.address of a gateway")
		}
		if bytes.HasPrefix(line, []byte(`{"skipped":`)) {
			var left struct{ Skipped int64 }
			if json.Unmarshal(line, &left) == nil {
				fmt.Fprintf(stderr, "%d events left out, above -rate\n", left.Skipped)
				continue
			}
		}
		if _, err := stdout.Write(line); err != nil {
			return err
		}
	}
}
