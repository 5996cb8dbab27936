// This file draws.

package top

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"sluice/cmd/gateway/status"
)

// headRows and footRows are what stands above and below the shards.
const (
	headRows = 8
	footRows = 2
)

// Sequences of the terminal. bubbletea leaves out those that it does not take, and those of colours
// with NO_COLOR.
const (
	bold    = "\x1b[1m"
	reverse = "\x1b[7m"
	red     = "\x1b[31m"
	yellow  = "\x1b[33m"
	plain   = "\x1b[0m"
)

// column is a column of the table. sort is its name in a query; empty: none.
type column struct {
	title string
	width int // negative: aligned to the left; 0: the rest of the row
	sort  string
	text  func(s *status.Shard) string
}

var columns = []column{
	{"SHARD", 6, "id", func(s *status.Shard) string { return fmt.Sprint(s.ID) }},
	{"STATE", -15, "state", func(s *status.Shard) string { return s.State }},
	{"FOR", 6, "since", func(s *status.Shard) string { return age(s.Since) }},
	{"EVENTS/S", 9, "rate", func(s *status.Shard) string { return fmt.Sprintf("%.1f", s.Rate) }},
	{"EVENTS", 8, "events", func(s *status.Shard) string { return short(float64(s.Events)) }},
	{"LAST", 6, "last_event", func(s *status.Shard) string { return orNone(s.LastEvent) }},
	{"ACK", 6, "last_ack", func(s *status.Shard) string { return orNone(s.LastACK) }},
	{"PING", 7, "round_trip", func(s *status.Shard) string { return milliseconds(s.RoundTrip) }},
	{"RECONN", 7, "reconnects", func(s *status.Shard) string { return status.Count(s.Reconnects) }},
	{"CMDS", 5, "pending", func(s *status.Shard) string { return status.Count(s.Pending) }},
	{"WHY, OR LAST END", 0, "", func(s *status.Shard) string { return story(s) }},
}

// View draws the screen.
func (m *model) View() tea.View {
	var rows []string
	switch {
	case m.help:
		rows = strings.Split(strings.TrimSuffix(helpText, "\n"), "\n")
	case m.last == nil:
		rows = []string{"waiting for the gateway"}
	default:
		rows = m.head()
		if s := m.selected(); m.detail && s != nil {
			rows = append(rows, details(s)...)
		} else {
			rows = append(rows, m.table()...)
		}
	}
	room := max(1, m.size.Height-1)
	if len(rows) > room {
		rows = rows[:room]
	}
	for len(rows) < room {
		rows = append(rows, "")
	}
	foot := "? help   s sort   r reverse   n not ready   enter details   q quit"
	if m.err != nil {
		foot = fmt.Sprintf("%sno answer for %s: %s%s", red, age(time.Since(m.at).Seconds()), printable(m.err.Error()), plain)
	}
	rows = append(rows, foot)
	for i := range rows {
		rows[i] = ansi.Truncate(rows[i], m.size.Width, "…")
	}
	v := tea.NewView(strings.Join(rows, "\n"))
	v.AltScreen = true
	v.WindowTitle = "gateway top"
	return v
}

// head returns the lines that answer the first questions. Empty ones follow, if fewer are needed.
func (m *model) head() []string {
	s := m.last
	health := "ready"
	switch {
	case !s.Health.Live:
		health = red + bold + "NOT LIVE" + plain
	case !s.Health.Ready:
		health = yellow + bold + "not ready" + plain
	}
	lost := fmt.Sprintf("lost %s   gaps %s", status.Count(s.Events.Lost), status.Count(s.Events.Gaps))
	if s.Events.Lost > 0 || s.Events.Gaps > 0 {
		lost = red + bold + lost + plain
	}
	rows := []string{
		fmt.Sprintf("%sgateway %s%s   up %s   %s   %s of %s shards ready%s", bold, printable(s.Process.Version), plain, age(s.Process.Uptime), health,
			status.Count(s.Shards.Ready), status.Count(s.Shards.Run), others(&s.Shards)),
		fmt.Sprintf("events    %s/s   lag p50 %s  p99 %s   %s   duplicates dropped %s", rate(s.Events.Rate),
			milliseconds(s.Events.Lag.P50), milliseconds(s.Events.Lag.P99), lost, short(float64(s.Events.Repeated))),
		"broker    " + brokerText(&s.Broker),
		fmt.Sprintf("queue     %s events, %s of %s, oldest %s, %s shards paused%s", short(float64(s.Queue.Events)), size(s.Queue.Bytes), size(s.Queue.MaxBytes),
			age(s.Queue.Oldest), status.Count(s.Queue.Paused), spoolText(s.Spool)),
		"identify  " + identifyText(&s.Identify, s.At),
		fmt.Sprintf("commands  %s sent, %s wait, %s refused   dead-lettered events %s", short(float64(s.Commands.Sent)), status.Count(s.Commands.Pending), refused(s.Commands.Refused), status.Count(s.Broker.DeadLettered)),
	}
	if why := failing(&s.Health); why != "" {
		rows = append(rows, yellow+why+plain)
	} else if s.Fleet != nil {
		rows = append(rows, "fleet     "+printable(s.Fleet.Summary()))
	}
	if s.Reshard.AtWork() {
		rows = append(rows, "reshard   "+printable(s.Reshard.Summary()))
	}
	return append(rows, "", "")[:headRows]
}

// table returns the heading and a row for each shard.
func (m *model) table() []string {
	heading := ""
	for _, c := range columns {
		title := c.title
		if c.sort == m.order() && c.sort != "" {
			arrow := "^"
			if m.query.Descending {
				arrow = "v"
			}
			title = arrow + title
		}
		heading += pad(title, c.width)
	}
	rows := []string{reverse + ansi.Truncate(heading+strings.Repeat(" ", m.size.Width), m.size.Width, "") + plain}
	for i := range m.last.Shards.List {
		s := &m.last.Shards.List[i]
		row := ""
		for _, c := range columns {
			row += pad(c.text(s), c.width)
		}
		row = strings.TrimRight(row, " ")
		switch {
		case m.query.Offset+i == m.cursor:
			row = reverse + ansi.Truncate(row+strings.Repeat(" ", m.size.Width), m.size.Width, "…") + plain
		case s.State == "resuming":
			row = yellow + row + plain
		case s.State != "ready":
			row = red + row + plain
		}
		rows = append(rows, row)
	}
	if len(m.last.Shards.List) == 0 && m.query.Unready {
		rows = append(rows, "every shard is ready or resuming")
	}
	return rows
}

// details returns all that is known of a shard.
func details(s *status.Shard) []string {
	rows := []string{fmt.Sprintf("%sshard %d%s", bold, s.ID, plain)}
	for _, line := range [][2]string{
		{"state", fmt.Sprintf("%s for %s", s.State, age(s.Since))},
		{"why", orText(s.Why, "it is as it should be")},
		{"session", orText(s.Session, "none")},
		{"seq", status.Count(s.Seq)},
		{"events", fmt.Sprintf("%s, %.1f/s, the last one %s ago", status.Count(s.Events), s.Rate, orNone(s.LastEvent))},
		{"heartbeat", fmt.Sprintf("acknowledged %s ago, round trip %s", orNone(s.LastACK), milliseconds(s.RoundTrip))},
		{"commands", fmt.Sprintf("%s wait", status.Count(s.Pending))},
		{"reconnects", status.Count(s.Reconnects)},
		{"last end", orText(ending(s), "none")},
	} {
		rows = append(rows, fmt.Sprintf("  %-11s %s", line[0], printable(line[1])))
	}
	if s.Paused {
		rows = append(rows, "  reading is paused: the event queue is full, or the session is not persisted yet")
	}
	return rows
}

// story says why a shard is not ready or, if it is, how its last connection ended.
func story(s *status.Shard) string {
	if s.Why != "" {
		return printable(s.Why)
	}
	return printable(ending(s))
}

func ending(s *status.Shard) string {
	if s.Cause == "" {
		return ""
	}
	text := s.Cause
	if s.Code != 0 {
		text += fmt.Sprintf(" (%d)", s.Code)
	}
	return text + ", " + age(s.Ended) + " ago"
}

func brokerText(b *status.Broker) string {
	name := strings.TrimSpace(b.Type + " " + printable(b.Address))
	switch {
	case b.Blocked:
		return fmt.Sprintf("%s%s blocked for %s%s", red, name, age(b.Since), plain)
	case !b.Available:
		return fmt.Sprintf("%s%s unavailable for %s: %s%s", red, name, age(b.Since), printable(b.Error), plain)
	}
	return fmt.Sprintf("%s available for %s   %s published, %s retried", name, age(b.Since), short(float64(b.Published)), short(float64(b.Retried)))
}

func spoolText(s *status.Spool) string {
	if s == nil {
		return ""
	}
	text := fmt.Sprintf("   spool %s of %s", size(s.Bytes), size(s.MaxBytes))
	if s.Active {
		text += ", in use, oldest " + age(s.Oldest)
	}
	return text
}

func identifyText(i *status.Identify, now time.Time) string {
	text := "the budget is not known"
	if i.Known {
		text = fmt.Sprintf("%s of %s session starts left, %s of them in reserve", status.Count(i.Left), status.Count(i.Total), status.Count(i.Reserve))
		if i.Reset != nil {
			text += ", reset in " + age(i.Reset.Sub(now).Seconds())
		}
	}
	text += fmt.Sprintf("   %s shards wait", status.Count(i.Waiting))
	if i.Exhausted {
		return red + text + plain
	}
	return text
}

// failing returns the first check that fails.
func failing(h *status.Health) string {
	for _, c := range h.Checks {
		if !c.OK {
			return printable(c.Name + ": " + c.Text)
		}
	}
	return ""
}

func refused(list []status.Named) string {
	var n int64
	for _, r := range list {
		n += r.Count
	}
	return short(float64(n))
}

// printable keeps what a terminal may be given of a text that comes from elsewhere.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func pad(text string, width int) string {
	switch {
	case width == 0:
		return "  " + text
	case width < 0:
		return "  " + fmt.Sprintf("%-*s", -width, text)
	}
	return fmt.Sprintf("%*s", width+1, text)
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func orNone(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return age(seconds)
}

// age returns seconds in at most five characters.
func age(seconds float64) string {
	d := time.Duration(max(0, seconds) * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < 100*time.Minute:
		return fmt.Sprintf("%.0fm", d.Minutes())
	case d < 100*time.Hour:
		return fmt.Sprintf("%.0fh", d.Hours())
	}
	return fmt.Sprintf("%.0fd", d.Hours()/24)
}

func milliseconds(seconds float64) string {
	switch {
	case seconds == 0:
		return "-"
	case seconds < 0.0995:
		return fmt.Sprintf("%.1fms", seconds*1000)
	case seconds < 0.9995:
		return fmt.Sprintf("%.0fms", seconds*1000)
	}
	return age(seconds)
}

// others says how many shards other processes run.
func others(s *status.Shards) string {
	if s.Count <= s.Run {
		return ""
	}
	return fmt.Sprintf("; the bot has %s", status.Count(s.Count))
}

// rate returns a number a second.
func rate(n float64) string {
	if n < 1000 {
		return fmt.Sprintf("%.1f", n)
	}
	return short(n)
}

// short returns a number with k, M or G.
func short(n float64) string {
	switch {
	case n < 10_000:
		return thousands(n)
	case n < 10e6:
		return thousands(n/1e3) + "k"
	case n < 10e9:
		return thousands(n/1e6) + "M"
	}
	return thousands(n/1e9) + "G"
}

func thousands(n float64) string { return status.Count(int64(math.RoundToEven(n))) }

// size returns bytes in binary units.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return status.Count(n) + " B"
	case n < 10<<20:
		return status.Count(n>>10) + " KiB"
	case n < 10<<30:
		return status.Count(n>>20) + " MiB"
	}
	return status.Count(n>>30) + " GiB"
}

const helpText = `Keys

  s, right     sort by the next column; S, left: by the one before
  r            reverse the order
  n            show only the shards that are neither ready nor resuming
  up, down     select a shard; PgUp, PgDn, Home, End
  enter        all that is known of the selected shard; again, or Esc: back
  ?            this text
  q            quit

Columns

  FOR          how long the shard has been in its state
  LAST, ACK    since the last event, and since the last heartbeat was acknowledged
  PING         round trip of that heartbeat
  RECONN       connections after the first
  CMDS         commands that wait
`
