// This file draws on a terminal: rows that scroll away, and below them the last lines of the log
// and a status line that stay.

package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"sluice/internal/logwriter"
)

const (
	frameEvery   = 100 * time.Millisecond // how often at most the screen is drawn
	statusFrames = 3                      // frames for which a status stands
	maxPending   = 64 << 10               // bytes of rows from which a frame does not wait
	maxLogRows   = 6
)

// screen is a terminal with a panel at its bottom: log lines, then the status. A log line scrolls
// away with the events when newer ones take its place, so that events do not bury it.
//
// The cursor rests at the beginning of the empty row below the panel, is never hidden, and no mode
// of the terminal is changed: however the process ends, a panic or a second Ctrl-C among it, there
// is nothing to restore, and what others write begins a row of its own.
type screen struct {
	w      io.Writer
	size   func() (columns, rows int)
	color  bool
	keep   bool // events scroll here: the log's last lines stay
	status func() string
	stop   chan struct{}
	done   chan struct{} // closed when no frames are drawn any more

	mu      sync.Mutex // held while w is written to
	pending []byte     // rows for the next frame
	log     []string   // lines in the panel, and those to come
	text    string     // the status
	drawn   []int      // columns of the panel's rows as they were drawn
	changed bool
	closed  bool
	err     error // of the first write that failed
}

// newScreen returns a screen that draws nothing before its start or its close.
func newScreen(t *terminal, keep bool) *screen {
	return &screen{w: t.file, size: t.size, color: t.color, keep: keep, stop: make(chan struct{})}
}

// start draws frames until close. status returns the status line.
func (s *screen) start(status func() string) {
	s.status, s.done = status, make(chan struct{})
	go s.run()
}

func (s *screen) run() {
	defer close(s.done)
	continued := make(chan os.Signal, 1)
	notifyContinued(continued)
	defer signal.Stop(continued)
	ticker := time.NewTicker(frameEvery)
	defer ticker.Stop()
	for frame := 0; ; frame++ {
		text := ""
		if frame%statusFrames == 0 {
			text = s.status()
		}
		s.mu.Lock()
		s.frame(text)
		s.mu.Unlock()
		select {
		case <-ticker.C:
		case <-continued:
			s.mu.Lock()
			s.drawn = nil // is somewhere above
			s.changed = true
			s.mu.Unlock()
		case <-s.stop:
			return
		}
	}
}

// frame draws if there is something new; text is the status, or empty if that stands. mu is held.
func (s *screen) frame(text string) {
	if text != "" && text != s.text {
		s.text = text
		s.changed = true
	}
	if s.changed || text != "" && s.resized() {
		s.draw()
	}
}

// resized reports whether the panel does not fit any more. mu is held.
func (s *screen) resized() bool {
	columns, rows := s.size()
	for _, n := range s.drawn {
		if n >= columns {
			return true
		}
	}
	return len(s.drawn) > rows-1
}

// addRows adds the rows of events, which have no line ends. Its error is that of a write.
func (s *screen) addRows(rows [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range rows {
		s.append(row)
	}
	if s.closed || len(s.pending) >= maxPending {
		s.draw()
	}
	return s.err
}

// append adds a row to the next frame. mu is held.
func (s *screen) append(row []byte) {
	s.pending = append(s.pending, "\x1b[K"...)
	s.pending = append(s.pending, row...)
	s.pending = append(s.pending, "\r\n"...)
	s.changed = true
}

// Write takes whole lines of the log.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range bytes.Lines(lines) {
		s.log = append(s.log, printableLine(string(bytes.TrimRight(line, "\r\n"))))
	}
	s.changed = true
	if s.closed {
		s.draw()
	}
	return len(lines), s.err
}

// draw writes what is pending, and the panel below it, at once. mu is held.
func (s *screen) draw() {
	columns, rows := s.size()
	frame := s.top(columns)
	room := 0
	if s.keep && !s.closed {
		room = max(0, min(maxLogRows, (rows-2)/3))
	}
	for len(s.log) > room {
		for _, row := range wrap(s.log[0], columns) {
			s.append([]byte(s.paint(logColor(s.log[0]), row)))
		}
		s.log = s.log[1:]
	}
	frame = append(frame, s.pending...)
	s.pending = s.pending[:0]
	s.drawn = s.drawn[:0]
	panel := func(text, color string) {
		row := appendCut(nil, []byte(text), columns-1)
		n := 0
		for _, r := range string(row) {
			n += columnsOf(r)
		}
		s.drawn = append(s.drawn, n)
		frame = append(frame, "\x1b[K"+s.paint(color, string(row))+"\r\n"...)
	}
	if !s.closed && rows > 2 {
		for _, line := range s.log {
			panel(shortLog(line), logColor(line))
		}
		if s.text != "" {
			panel(s.text, "7")
		}
	}
	frame = append(frame, "\x1b[J"...)
	s.changed = false
	if _, err := s.w.Write(frame); err != nil && s.err == nil {
		s.err = fmt.Errorf("terminal: %w", err)
	}
}

// top returns what moves the cursor to the first row of the panel. A terminal that has become
// narrower may have broken its rows. mu is held.
func (s *screen) top(columns int) []byte {
	up := 0
	for _, n := range s.drawn {
		up += max(1, (n+columns-1)/columns)
	}
	if up == 0 {
		return nil
	}
	return fmt.Appendf(nil, "\r\x1b[%dA", up)
}

// close ends the panel: the log's lines scroll, and what is written from now on is drawn at once.
// It does not wait for long for a terminal that has been stopped.
func (s *screen) close() {
	ended := make(chan struct{})
	close(s.stop)
	go func() {
		defer close(ended)
		if s.done != nil {
			<-s.done
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		s.draw()
	}()
	select {
	case <-ended:
	case <-time.After(logwriter.Timeout):
	}
}

// paint returns the text in a colour, a parameter of SGR.
func (s *screen) paint(color, text string) string {
	if !s.color || color == "" || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// logColor is the colour of a log line.
func logColor(line string) string {
	switch {
	case strings.Contains(line, " level=WARN "):
		return "33"
	case strings.Contains(line, " level=ERROR "):
		return "31"
	}
	return "1"
}

// shortLog returns a log line as the panel has it: with the time alone, and nothing before the
// message but the level.
func shortLog(line string) string {
	date, rest, ok := strings.Cut(line, " level=")
	_, clock, isTime := strings.Cut(date, "T")
	if !ok || !isTime || !strings.HasPrefix(date, "time=") || len(clock) < len("15:04:05") {
		return line
	}
	level, rest, _ := strings.Cut(rest, " msg=")
	return clock[:len("15:04:05")] + " " + level + " " + rest
}
