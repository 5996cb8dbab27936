// Package top shows a running gateway live in a terminal, as top shows processes: what matters in
// a few lines, and its shards below, sorted and selected by keys. Where there is no terminal it
// prints a line a second.
package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"sluice/cmd/gateway/status"
)

// Options are what Run needs. All are required but Every and Color.
type Options struct {
	// Fetch asks the running gateway for its document, with the shards that q asks for.
	Fetch func(ctx context.Context, q status.Query) (*status.Status, error)
	In    io.Reader     // keys
	Out   io.Writer     // the terminal
	Every time.Duration // between two looks; 0: a second
}

func (o *Options) every() time.Duration {
	if o.Every == 0 {
		return time.Second
	}
	return o.Every
}

// Run shows the gateway until a key ends it or ctx is done. The first look must succeed; of those
// that fail later the screen says so.
func Run(ctx context.Context, o Options) error {
	first, err := o.Fetch(ctx, status.Query{Limit: 1})
	if err != nil {
		return err
	}
	m := newModel(ctx, &o)
	m.looked(look{status: first})
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out),
		tea.WithWindowSize(80, 24), tea.WithoutSignalHandler()).Run() // a terminal says which size it has
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// Print writes a line of what matters to o.Out each o.Every until ctx is done, or the gateway does
// not answer. It is for what is no terminal.
func Print(ctx context.Context, o Options) error {
	ticker := time.NewTicker(o.every())
	defer ticker.Stop()
	for {
		s, err := o.Fetch(ctx, status.Query{Limit: 1})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := o.Out.Write(appendLine(nil, s)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// appendLine appends the line of Print: names and values, as logfmt has them.
func appendLine(dst []byte, s *status.Status) []byte {
	broker := "unavailable"
	if s.Broker.Available {
		broker = "available"
	}
	dst = fmt.Appendf(dst, "time=%s ready=%t shards_ready=%d shards=%d events_per_s=%.1f lag_p50=%.3f lag_p99=%.3f lost=%d gaps=%d queue_events=%d queue_bytes=%d oldest=%.1f broker=%s",
		s.At.UTC().Format(time.RFC3339), s.Health.Ready, s.Shards.Ready, s.Shards.Run, s.Events.Rate, s.Events.Lag.P50, s.Events.Lag.P99,
		s.Events.Lost, s.Events.Gaps, s.Queue.Events, s.Queue.Bytes, s.Queue.Oldest, broker)
	if s.Identify.Known {
		dst = fmt.Appendf(dst, " identify_left=%d", s.Identify.Left)
	}
	return append(dst, '\n')
}
