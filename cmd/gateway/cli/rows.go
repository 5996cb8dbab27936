// This file shows events on a terminal.

package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"sluice/sinks"
	"sluice/sinks/stdio"
)

// eventRows is a sink that shows each event in one row of a terminal: shard, sequence number, name,
// and what of its data fits.
type eventRows struct {
	size  func() (columns, rows int)
	color bool
	add   func(rows [][]byte) error
}

// Publish shows the events of batch. It acknowledges all of them or none.
func (r *eventRows) Publish(ctx context.Context, batch []sinks.Event, acked func(n int)) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("terminal: %w", context.Cause(ctx))
	}
	columns, _ := r.size()
	rows := make([][]byte, len(batch))
	for i := range batch {
		rows[i] = eventRow(&batch[i], columns, r.color)
	}
	if err := r.add(rows); err != nil {
		return err
	}
	acked(len(batch))
	return nil
}

// Open does nothing.
func (r *eventRows) Open(context.Context) error { return nil }

// Close does nothing: the terminal is not the sink's.
func (r *eventRows) Close() error { return nil }

// eventOutput returns the sink that writes events to standard output: in the format, or as rows if
// that is a terminal.
func eventOutput(stdout io.Writer, format stdio.Format) sinks.Opener {
	if t := terminalOf(stdout); t != nil {
		return plainRows(t)
	}
	return stdio.NewSink(stdout, format)
}

// plainRows returns a sink that writes to a terminal on which nothing stays in its place.
func plainRows(t *terminal) *eventRows {
	return &eventRows{size: t.size, color: t.color, add: func(rows [][]byte) error {
		if _, err := t.file.Write(append(bytes.Join(rows, []byte("\n")), '\n')); err != nil {
			return fmt.Errorf("stdio: %w", err)
		}
		return nil
	}}
}

// eventRow returns an event's row.
func eventRow(ev *sinks.Event, columns int, color bool) []byte {
	head := fmt.Appendf(nil, "%2d %6d ", ev.Shard, ev.Seq)
	name := len(head)
	head = fmt.Appendf(head, "%-19s ", ev.Type)
	data := ev.Data[:min(len(ev.Data), 16*columns+16)] // more does not fit
	row := appendCut(nil, append(head, data...), columns)
	if !color || columns <= len(head) {
		return row
	}
	painted := fmt.Appendf(nil, "\x1b[2m%s\x1b[0;%sm%s\x1b[0m", row[:name], nameColor(ev.Type), row[name:len(head)])
	return append(painted, row[len(head):]...)
}

// nameColor is the colour of an event's name: those of the connection stand out.
func nameColor(name []byte) string {
	switch string(name) {
	case "READY", "RESUMED":
		return "32"
	case sinks.GapEvent:
		return "31"
	}
	return "36"
}
