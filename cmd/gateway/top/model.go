// This file is what is shown at a time, and what keys and looks change of it.

package top

import (
	"context"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"sluice/cmd/gateway/status"
)

// model is bubbletea's: its methods are called on one goroutine.
type model struct {
	ctx  context.Context
	o    *Options
	size tea.WindowSizeMsg

	last    *status.Status
	err     error     // of the last look; last is older then
	at      time.Time // of last
	query   status.Query
	cursor  int  // the place of the selected shard among all of the query
	detail  bool // the selected shard is shown alone
	help    bool
	looking bool // an answer is to come
}

// look is an answer.
type look struct {
	status *status.Status
	err    error
	query  status.Query
}

// tick asks for the next look.
type tick struct{}

func newModel(ctx context.Context, o *Options) *model {
	return &model{ctx: ctx, o: o, size: tea.WindowSizeMsg{Width: 80, Height: 24}}
}

// Init begins to look.
func (m *model) Init() tea.Cmd { return m.look() }

// look asks for the shards that fit the screen.
func (m *model) look() tea.Cmd {
	if m.looking {
		return nil
	}
	m.looking = true
	q := m.query
	q.Limit = max(1, m.rows())
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
		defer cancel()
		s, err := m.o.Fetch(ctx, q)
		return look{s, err, q}
	}
}

// looked takes an answer.
func (m *model) looked(l look) {
	m.looking = false
	if m.err = l.err; l.err != nil {
		return
	}
	m.last, m.at = l.status, time.Now()
	m.move(0)
}

// rows returns how many shards the screen has room for.
func (m *model) rows() int { return m.size.Height - headRows - footRows }

// total returns how many shards there are to move through.
func (m *model) total() int {
	if m.last == nil {
		return 0
	}
	if m.query.Unready {
		return m.last.Shards.Listed
	}
	return m.last.Shards.Run
}

// move moves the cursor, and what is shown with it.
func (m *model) move(by int) {
	m.cursor = max(0, min(m.cursor+by, m.total()-1))
	if m.cursor < m.query.Offset {
		m.query.Offset = m.cursor
	}
	if over := m.cursor - m.query.Offset - max(1, m.rows()) + 1; over > 0 {
		m.query.Offset += over
	}
}

// selected returns the shard at the cursor, or nil.
func (m *model) selected() *status.Shard {
	if m.last == nil {
		return nil
	}
	if i := m.cursor - m.query.Offset; i >= 0 && i < len(m.last.Shards.List) {
		return &m.last.Shards.List[i]
	}
	return nil
}

// Update takes a key, a size or an answer.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.size = msg
		m.move(0)
		return m, m.look()
	case look:
		m.looked(msg)
		now := m.query
		now.Limit = msg.query.Limit
		if now != msg.query { // a key has changed it since
			return m, m.look()
		}
		return m, tea.Tick(m.o.every(), func(time.Time) tea.Msg { return tick{} })
	case tick:
		return m, m.look()
	case tea.KeyPressMsg:
		return m.key(msg.String())
	}
	return m, nil
}

func (m *model) key(key string) (tea.Model, tea.Cmd) {
	before := m.query
	switch key {
	case "q", "ctrl+c":
		return m, tea.Quit
	case "ctrl+z": // which is a key here, and leaves the terminal to the shell
		return m, tea.Suspend
	case "?", "h":
		m.help = !m.help
	case "esc":
		m.help, m.detail = false, false
	case "enter":
		m.detail = !m.detail && m.selected() != nil
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup":
		m.move(-max(1, m.rows()))
	case "pgdown", "space":
		m.move(max(1, m.rows()))
	case "home", "g":
		m.move(-m.cursor)
	case "end", "G":
		m.move(m.total())
	case "s", "right":
		m.sort(1)
	case "S", "left":
		m.sort(-1)
	case "r":
		m.query.Descending = !m.query.Descending
	case "n":
		m.query.Unready = !m.query.Unready
		m.cursor, m.query.Offset = 0, 0
	}
	if m.query != before {
		return m, m.look()
	}
	return m, nil
}

// sort takes the next or the previous of the columns to sort by. Figures begin with the largest.
func (m *model) sort(by int) {
	i := slices.IndexFunc(columns, func(c column) bool { return c.sort == m.order() })
	for {
		i = (i + by + len(columns)) % len(columns)
		if columns[i].sort != "" {
			break
		}
	}
	m.query.Sort = columns[i].sort
	m.query.Descending = columns[i].sort != "id" && columns[i].sort != "state"
	m.cursor, m.query.Offset = 0, 0
}

// order returns what the shards are sorted by.
func (m *model) order() string {
	if m.query.Sort == "" {
		return "id"
	}
	return m.query.Sort
}
