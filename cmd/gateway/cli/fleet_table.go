// This file lays the fleet out for people.

package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/gateway/status"
)

// shownMoves is how many handovers are listed.
const shownMoves = 10

// fleetTable returns the fleet as a table, and what becomes of another shard count.
func fleetTable(f *status.Fleet, r *status.Reshard, now time.Time, columns int, color bool) string {
	l := &layout{columns: columns, color: color}
	if !f.Joined {
		l.painted(red, "fleet", "%s has not joined yet: %s", f.Member, f.Why)
		return l.b.String()
	}
	text := f.Member + " (" + status.ShortIncarnation(f.Incarnation) + ")"
	switch {
	case f.Confirmed:
		l.row("fleet", "%s, confirmed %s ago", text, ageText(f.Beat))
	case f.Unreached > 0:
		l.painted(red, "fleet", "%s, not confirmed: Redis has not answered for %s: %s", text, ageText(f.Unreached), f.Error)
	default:
		l.painted(red, "fleet", "%s, not confirmed yet", text)
	}
	if f.Draining {
		l.painted(bold, "", "it drains: it gives all of its shards to others, and takes none until its process is restarted")
	}
	p := f.Plan
	l.row("plan", "%s, generation %d, intents %d, %s", counted(p.Shards, "shard"), p.Generation, p.Intents, p.Format)
	l.reshard(r)
	l.row("members", "%s, the same for %s", status.Count(len(f.Members)), ageText(f.Stable))
	if f.Unowned > 0 {
		l.painted(red, "unowned", "%s of nobody that lives", counted(f.Unowned, "shard"))
	}
	if f.Starting > 0 {
		l.row("starting", "%s of this member, and not started yet", counted(f.Starting, "shard"))
	}
	l.row("moved", "%s given to others, %s taken from them, %s taken over from the dead", status.Count(f.Counts.Given), status.Count(f.Counts.Taken), status.Count(f.Counts.Takeovers))
	l.turns(f.Identify, now)
	l.members(f)
	l.moves(f)
	l.deaths(f, now)
	return l.b.String()
}

// turns is what is left of the day's session starts, and who waits for one.
func (l *layout) turns(i status.FleetIdentify, now time.Time) {
	text := "the fleet's budget is not known"
	if i.Known {
		text = fmt.Sprintf("%s of %s session starts left for the whole fleet (%s of them in reserve)", status.Count(i.Remaining), status.Count(i.Total), status.Count(i.Reserve))
		if i.Reset != nil {
			text += ", reset in " + ageText(i.Reset.Sub(now).Seconds())
		}
	}
	if i.Waiting > 0 {
		text += fmt.Sprintf("; %s here in the queue, %s of them with a turn", counted(i.Waiting, "shard"), status.Count(i.Turns))
	}
	color := ""
	if i.Known && i.Waiting > 0 && i.Remaining <= i.Reserve {
		color = red
		text += "; used up: shards wait for the reset"
	}
	l.painted(color, "identify", "%s", text)
}

// members lists them, by name; this one has a star.
func (l *layout) members(f *status.Fleet) {
	list := slices.Clone(f.Members)
	slices.SortStableFunc(list, func(a, b status.FleetMember) int { return strings.Compare(a.Name, b.Name) })
	rows := [][]string{{"", "MEMBER", "INCARNATION", "STATE", "SHARDS", "SHARE", "WEIGHT", "BEAT", "ZONE", "VERSION", "ADDRESS"}}
	for _, m := range list {
		own := ""
		if m.Incarnation == f.Incarnation {
			own = "*"
		}
		beat := "-"
		if m.State != "deposed" {
			beat = ageText(m.Beat)
		}
		rows = append(rows, []string{
			own, m.Name, status.ShortIncarnation(m.Incarnation), m.State, status.Count(m.Shards), shareText(m.Share), strconv.Itoa(m.Weight), beat, m.Zone, m.Version, m.Address,
		})
	}
	l.row("", "")
	l.rows(rows)
}

// rows writes rows of cells below each other, the first in bold. A column in which nothing stands is left out.
func (l *layout) rows(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for n, row := range rows {
		for i, cell := range row {
			row[i] = printableLine(cell)
			if n > 0 && cell != "" || n > 0 && widths[i] > 0 {
				widths[i] = max(widths[i], cellWidth(row[i]), cellWidth(rows[0][i]))
			}
		}
	}
	for n, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if widths[i] > 0 {
				line.WriteString(cell + strings.Repeat(" ", widths[i]+2-cellWidth(cell)))
			}
		}
		color := ""
		if n == 0 {
			color = bold
		}
		l.cells(color, nil, strings.TrimRight(line.String(), " "))
	}
}

// cellWidth returns how many columns printable text takes.
func cellWidth(text string) (n int) {
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

// moves lists handovers.
func (l *layout) moves(f *status.Fleet) {
	if len(f.Moves) == 0 {
		return
	}
	rows := [][]string{{"SHARD", "FROM", "TO", "FOR"}}
	for _, m := range f.Moves[:min(len(f.Moves), shownMoves)] {
		rows = append(rows, []string{strconv.Itoa(m.Shard), f.NameOf(m.From), f.NameOf(m.To), ageText(m.Since)})
	}
	l.row("", "")
	l.rows(rows)
	if more := len(f.Moves) - shownMoves; more > 0 {
		l.cells("", nil, fmt.Sprintf("and %s more; gateway fleet -json has all", counted(more, "move")))
	}
}

// deaths lists who has died.
func (l *layout) deaths(f *status.Fleet, now time.Time) {
	if len(f.Deaths) == 0 {
		return
	}
	rows := [][]string{{"DEAD", "INCARNATION", "FOR", "SHARDS", "FOUND BY"}}
	for _, d := range f.Deaths {
		name, by := d.Name, d.By
		if name == "" {
			name = "unknown"
		}
		if by == "" {
			by = "another"
		}
		rows = append(rows, []string{name, status.ShortIncarnation(d.Incarnation), ageText(now.Sub(d.At).Seconds()), status.Count(d.Shards), by})
	}
	l.row("", "")
	l.rows(rows)
}

// shareText returns a share, which may have a fraction.
func shareText(share float64) string { return strconv.FormatFloat(share, 'f', -1, 64) }
