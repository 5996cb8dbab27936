// This file keeps the last log lines.

package page

import (
	"bytes"
	"encoding/json"
	"sync"
	"unicode/utf8"
)

const (
	maxLines   = 500
	maxLine    = 2 << 10   // of a line, what is above is cut off
	maxLogSize = 256 << 10 // of all lines
)

// Logs is an io.Writer that keeps the last 500 lines, 256 KiB at most, for the page. It keeps what it
// is given: secrets are masked before. It never blocks for longer than a copy takes.
type Logs struct {
	mu    sync.Mutex
	lines [maxLines][]byte // a ring, whose memory is used again
	next  uint64           // number of the next line; that of the first is 0
	first uint64           // the oldest that is kept
	size  int              // of those that are kept
}

// Write keeps the lines. It returns no error.
func (l *Logs) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(text) {
		l.add(bytes.TrimRight(line, "\r\n"))
	}
	return len(text), nil
}

// add keeps a line. mu is held.
func (l *Logs) add(line []byte) {
	cut := len(line) > maxLine
	if cut {
		line = line[:maxLine]
		for len(line) > 0 && !utf8.RuneStart(line[len(line)-1]) {
			line = line[:len(line)-1]
		}
		line = line[:max(0, len(line)-1)] // the first byte of what was cut, or a whole letter
	}
	for l.next-l.first == maxLines || l.size+len(line)+len("…") > maxLogSize {
		l.size -= len(l.lines[l.first%maxLines])
		l.first++
	}
	at := &l.lines[l.next%maxLines]
	*at = append((*at)[:0], line...)
	if cut {
		*at = append(*at, "…"...)
	}
	l.size += len(*at)
	l.next++
}

// count returns the number of the next line. Of no Logs it is 0.
func (l *Logs) count() uint64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// between appends the lines from number n to end as an array of JSON, as far as they are kept.
func (l *Logs) between(dst []byte, n, end uint64) []byte {
	dst = append(dst, '[')
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		n = max(n, l.first)
		for i := n; i < end; i++ {
			if i > n {
				dst = append(dst, ',')
			}
			line, _ := json.Marshal(string(l.lines[i%maxLines])) // of a string there is no error
			dst = append(dst, line...)
		}
	}
	return append(dst, ']')
}
