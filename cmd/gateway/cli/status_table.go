// This file lays the document of /status out for people.

package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/gateway/status"
	"sluice/wire"
)

// shownShards is how many shards that are not ready are listed.
const shownShards = 20

// layout writes rows of a label and a text, in so many columns; 0: each text is one row.
type layout struct {
	b       strings.Builder
	columns int
	color   bool
}

const labelWidth = 10

// row writes a text behind its label, or below the one before it if that is empty.
func (l *layout) row(label, format string, args ...any) { l.painted("", label, format, args...) }

// painted is row in a colour.
func (l *layout) painted(color, label, format string, args ...any) {
	l.cells(color, []int{labelWidth}, label, printableLine(fmt.Sprintf(format, args...)))
}

// cells writes cells of the given widths, and a last one that has the rest of the columns.
func (l *layout) cells(color string, widths []int, cells ...string) {
	indent, head := 0, ""
	for i, width := range widths {
		head += fmt.Sprintf("%-*s", width, cells[i])
		indent += width
	}
	last := cells[len(cells)-1]
	lines := []string{last}
	switch room := l.columns - indent; {
	case l.columns == 0:
	case room < indent: // a narrow terminal: below each other
		lines = wrap(head+last, max(1, l.columns))
		head, indent = "", 0
	default:
		lines = wrap(last, room)
	}
	for _, line := range lines {
		if l.color && color != "" {
			line = "\x1b[" + color + "m" + line + "\x1b[0m"
		}
		l.b.WriteString(strings.TrimRight(head+line, " ") + "\n")
		head = strings.Repeat(" ", indent)
	}
}

const (
	red   = "31"
	green = "32"
	bold  = "1"
)

// statusTable returns the document as a table.
func statusTable(d *status.Status, columns int, color bool) string {
	l := &layout{columns: columns, color: color}
	p := d.Process
	l.painted(bold, "gateway", "%s, process %d, up %s, %s of memory, %s CPU, log level %s", p.Version, p.PID, ageText(p.Uptime), sizeText(int64(p.Memory)), cpuText(p), p.LogLevel)
	l.health(d.Health)
	l.row("", "")
	l.row("shards", "%s", shardsText(d.Shards))
	if f := d.Fleet; f != nil {
		l.row("fleet", "%s", f.Summary())
	}
	l.reshard(d.Reshard)
	l.row("events", "%s received, %s/s now", status.Count(d.Events.Received), rateText(d.Events.Rate))
	l.row("lag", "%s", lagText(d.Events.Lag))
	l.lost(d)
	l.broker(d.Broker, d.Health)
	q := d.Queue
	text := fmt.Sprintf("%s, %s of %s", counted(q.Events, "event"), sizeText(q.Bytes), sizeText(q.MaxBytes))
	if q.Oldest > 0 {
		text += ", the oldest " + ageText(q.Oldest) + " old"
	}
	if q.Paused > 0 {
		text += fmt.Sprintf("; %s paused: nothing is read until there is capacity", counted(q.Paused, "shard"))
	}
	l.row("queue", "%s", text)
	if s := d.Spool; s != nil {
		l.row("spool", "%s", spoolText(*s))
	}
	l.store(d.Store)
	l.identify(d.Identify, d.At)
	l.commands(d.Commands)
	l.ended(d.Shards.Ended)
	l.shards(d.Shards.List)
	return l.b.String()
}

func (l *layout) health(h status.Health) {
	yes := func(label string, ok bool) {
		if ok {
			l.painted(green, label, "yes")
		} else {
			l.painted(red, label, "no")
		}
	}
	yes("live", h.Live)
	yes("ready", h.Ready)
	for i, c := range h.Checks {
		same := func(other status.Check) bool { return other.Name == c.Name && other.Text == c.Text } // of the other kind
		if !c.OK && !slices.ContainsFunc(h.Checks[:i], same) {
			l.painted(red, "", "%s: %s", c.Name, c.Text)
		}
	}
}

// reshard says how another shard count comes about, if one is at work.
func (l *layout) reshard(r *status.Reshard) {
	if r.AtWork() {
		l.row("reshard", "%s", r.Summary())
	}
}

func shardsText(s status.Shards) string {
	if s.Count == 0 {
		return "the shard count is not known yet"
	}
	text := fmt.Sprintf("%s of %s ready", status.Count(s.Ready), status.Count(s.Run))
	if s.Run != s.Count {
		text += fmt.Sprintf(" (the bot has %s)", status.Count(s.Count))
	}
	states := slices.SortedFunc(maps.Keys(s.States), func(a, b string) int { return cmp.Or(cmp.Compare(s.States[b], s.States[a]), cmp.Compare(a, b)) })
	for _, state := range states {
		if state != "ready" {
			text += fmt.Sprintf(", %s %s", status.Count(s.States[state]), state)
		}
	}
	return text
}

func lagText(lag status.Lag) string {
	if lag.Max == 0 {
		return "no event was acknowledged in the last minute"
	}
	return fmt.Sprintf("p50 %s, p99 %s, at most %s, in the last minute", milliseconds(lag.P50), milliseconds(lag.P99), milliseconds(lag.Max))
}

// lost answers the first question: whether anything is lost.
func (l *layout) lost(d *status.Status) {
	color := ""
	if d.Events.Lost+d.Events.Gaps > 0 {
		color = red
	}
	l.painted(color, "lost", "%s known lost, %s, %s dead-lettered", status.Count(d.Events.Lost), counted(int(d.Events.Gaps), "gap"), status.Count(d.Broker.DeadLettered))
}

func (l *layout) broker(b status.Broker, h status.Health) {
	condition, color := "available", ""
	switch {
	case b.Blocked:
		condition, color = "blocked", red
	case !b.Available:
		condition, color = "unavailable", red
	}
	name := b.Type
	if b.Address != "" {
		name += " at " + b.Address
	}
	text := fmt.Sprintf("%s, %s for %s", name, condition, ageText(b.Since))
	if b.Unavailable > 0 {
		text += fmt.Sprintf(" (unavailable for %s in all)", ageText(b.Unavailable))
	}
	l.painted(color, "broker", "%s", text)
	said := slices.ContainsFunc(h.Checks, func(c status.Check) bool { return !c.OK && strings.Contains(c.Text, b.Error) })
	if b.Error != "" && !said {
		l.painted(color, "", "%s", b.Error)
	}
	l.row("", "%s published, %s batches retried", status.Count(b.Published), status.Count(b.Retried))
}

func spoolText(s status.Spool) string {
	text := fmt.Sprintf("%s of %s", sizeText(s.Bytes), sizeText(s.MaxBytes))
	switch {
	case s.Active:
		text = "events go to the disk: " + text
	case s.Bytes == 0:
		return "empty, " + text
	}
	if s.Oldest > 0 {
		text += ", the oldest event " + ageText(s.Oldest) + " old"
	}
	return text
}

func (l *layout) store(s status.Store) {
	if !s.Available {
		l.painted(red, "store", "%s, unavailable: %s", s.Type, cmp.Or(s.Error, "sessions are not persisted"))
		return
	}
	text := s.Type
	if s.Checkpoint > 0 {
		text += ", last checkpoint " + ageText(s.Checkpoint) + " ago"
	}
	l.row("store", "%s", text)
}

func (l *layout) identify(i status.Identify, at time.Time) {
	text := "the budget is not known"
	if i.Known {
		text = fmt.Sprintf("%s of %s session starts left", status.Count(i.Left), status.Count(i.Total))
		if i.Reserve > 0 {
			text += fmt.Sprintf(" (%s of them in reserve)", status.Count(i.Reserve))
		}
		if i.Reset != nil {
			text += fmt.Sprintf(", reset in %s", ageText(i.Reset.Sub(at).Seconds()))
		}
	}
	if i.Waiting > 0 {
		text += fmt.Sprintf("; %s in the queue, max_concurrency %d", counted(i.Waiting, "shard"), i.MaxConcurrency)
	}
	color := ""
	if i.Exhausted {
		color = red
		text += "; used up: shards wait for the reset"
	}
	l.painted(color, "identify", "%s", text)
}

func (l *layout) commands(c status.Commands) {
	text := fmt.Sprintf("%s sent, %s pending, %s replaced", status.Count(c.Sent), status.Count(c.Pending), status.Count(c.Replaced))
	var refused []string
	for _, r := range c.Refused {
		if r.Count > 0 {
			refused = append(refused, fmt.Sprintf("%s (%s)", status.Count(r.Count), r.Name))
		}
	}
	if len(refused) > 0 {
		text += ", refused " + strings.Join(refused, ", ")
	}
	l.row("commands", "%s", text)
}

// ended lists why connections have ended, the most frequent causes.
func (l *layout) ended(ended []status.Ended) {
	const shown = 5
	label := "ended"
	for _, e := range ended[:min(len(ended), shown)] {
		text := fmt.Sprintf("%s × %s", status.Count(e.Count), e.Cause)
		switch {
		case e.Other:
			text += ", other"
		case e.Code != 0:
			text += fmt.Sprintf(", %d (%s)", e.Code, wire.CloseCode(e.Code))
		}
		l.row(label, "%s", text)
		label = ""
	}
	if more := len(ended) - shown; more > 0 {
		l.row(label, "and %s more", counted(more, "cause"))
	}
}

// whole returns why a shard is not ready, with the cause that a long list has left out of it.
func whole(s status.Shard) string {
	switch {
	case s.State != "backoff" && s.State != "connecting" || s.Cause == "" || strings.Contains(s.Why, " after: "):
		return s.Why
	case s.Code != 0:
		return fmt.Sprintf("%s after: %s with %d", s.Why, s.Cause, s.Code)
	}
	return s.Why + " after: " + s.Cause
}

// shards lists those that are not ready.
func (l *layout) shards(list []status.Shard) {
	waiting := slices.DeleteFunc(slices.Clone(list), func(s status.Shard) bool { return s.Why == "" })
	if len(waiting) == 0 {
		return
	}
	widths := []int{len("SHARD"), len("STATE"), len("FOR")}
	var rows [][]string
	for _, s := range waiting[:min(len(waiting), shownShards)] {
		row := []string{strconv.Itoa(s.ID), s.State, ageText(s.Since), printableLine(whole(s))}
		for i := range widths {
			widths[i] = max(widths[i], len(row[i]))
		}
		rows = append(rows, row)
	}
	for i := range widths {
		widths[i] += 2
	}
	l.row("", "")
	l.cells(bold, widths, "SHARD", "STATE", "FOR", "WHY IT IS NOT READY")
	for _, row := range rows {
		l.cells("", widths, row...)
	}
	if more := len(waiting) - len(rows); more > 0 {
		l.cells("", nil, fmt.Sprintf("and %s more; gateway status -json has all", counted(more, "shard")))
	}
}

// counted is plural with the thousands apart.
func counted(n int, what string) string {
	text := plural(n, what)
	return status.Count(n) + text[strings.IndexByte(text, ' '):]
}

func rateText(rate float64) string {
	if rate < 100 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return status.Count(int64(rate + 0.5))
}

// ageText returns seconds as people read them.
func ageText(seconds float64) string {
	if seconds = max(seconds, 0); seconds < 10 {
		return strconv.FormatFloat(seconds, 'f', 1, 64) + " s"
	}
	s := int64(seconds + 0.5)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}

func milliseconds(seconds float64) string {
	if seconds >= 10 {
		return ageText(seconds)
	}
	return strconv.FormatFloat(seconds*1000, 'g', 3, 64) + " ms"
}

// sizeText returns bytes in the largest unit that they fill.
func sizeText(n int64) string {
	units, x := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}, float64(n)
	i := 0
	for ; x >= 1024 && i+1 < len(units); i++ {
		x /= 1024
	}
	if i == 0 || x >= 100 {
		return status.Count(int64(x+0.5)) + " " + units[i]
	}
	return strconv.FormatFloat(x, 'g', 3, 64) + " " + units[i]
}

// cpuText returns the share of a CPU that the process has used since its start.
func cpuText(p status.Process) string {
	if p.Uptime <= 0 {
		return "0 %"
	}
	return strconv.FormatFloat(p.CPU/p.Uptime*100, 'f', 1, 64) + " %"
}
