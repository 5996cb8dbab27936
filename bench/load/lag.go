// This file measures how late the simulator itself is, so that it is not held
// against a subject.

package load

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"sync"
	"time"
)

// lagLog is how late this process reads what was written to it. A busy Go program
// looks at its timers long before it looks at its sockets, so the look goes
// through a pipe, as a heartbeat goes through a socket.
type lagLog struct {
	mu   sync.Mutex
	at   []time.Time // of the first of each second
	late []time.Duration
}

// lagPeriod is the time between two looks.
const lagPeriod = 10 * time.Millisecond

// watch looks until ctx is done.
func (l *lagLog) watch(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	start := time.Now()
	go func() {
		defer w.Close()
		var due [8]byte
		for next := time.Duration(0); ctx.Err() == nil; next = max(next+lagPeriod, time.Since(start)) {
			time.Sleep(next - time.Since(start))
			binary.NativeEndian.PutUint64(due[:], uint64(next))
			if _, err := w.Write(due[:]); err != nil {
				return
			}
		}
	}()
	go func() {
		defer r.Close()
		var due [8]byte
		for {
			if _, err := io.ReadFull(r, due[:]); err != nil {
				return
			}
			now := time.Now()
			l.add(now, now.Sub(start)-time.Duration(binary.NativeEndian.Uint64(due[:])))
		}
	}()
	return nil
}

// add notes that something was read so late.
func (l *lagLog) add(now time.Time, late time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.at) - 1
	switch {
	case last < 0 || now.Sub(l.at[last]) >= time.Second:
		l.at, l.late = append(l.at, now), append(l.late, late)
	case late > l.late[last]:
		l.late[last] = late
	}
}

// since returns the worst since a moment, which is known to a second.
func (l *lagLog) since(t time.Time) (late time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, at := range l.at {
		if at.Add(time.Second).After(t) {
			late = max(late, l.late[i])
		}
	}
	return late
}
