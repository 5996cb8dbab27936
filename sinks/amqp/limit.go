// This file keeps the log readable while the same thing happens again and again.

package amqp

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// logEvery is how often the log has a line about what goes on happening.
const logEvery = time.Minute

// limiter logs each message at most once in logEvery, with a count of those left out
// since. Messages are constants, so that it stays small.
type limiter struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]logged
}

type logged struct {
	at      time.Time
	leftOut int
}

func (l *limiter) warn(message string, attrs ...any) { l.say(slog.LevelWarn, message, attrs...) }

func (l *limiter) say(level slog.Level, message string, attrs ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	e, found := l.last[message]
	if found && now.Sub(e.at) < logEvery {
		e.leftOut++
		l.last[message] = e
		return
	}
	if e.leftOut > 0 {
		attrs = append(attrs, "left_out", e.leftOut)
	}
	if l.last == nil {
		l.last = make(map[string]logged)
	}
	l.last[message] = logged{at: now}
	l.log.Log(context.Background(), level, message, attrs...)
}
