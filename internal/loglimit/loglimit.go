// This file is the handler.

// Package loglimit bounds how often a message is logged. Somebody else may decide how often a
// line comes, such as who sends bad commands, and must not fill a disk or hide all else.
package loglimit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// What is logged of one message at one level: so many lines at once, as when that many shards
// start, and then so many a second. A line of the gateway has some 250 bytes: 75 KB a minute.
const (
	Burst     = 1000
	PerSecond = 5
)

const (
	// every is how often the counts of what is left out are logged.
	every = 10 * time.Second
	// maxKeys bounds the messages that are known. Others share one count.
	maxKeys = 1000
	// maxMessage bounds what is kept of a message. Those that begin alike share one count.
	maxMessage = 256
)

// Omitted is the message of the lines that count what was left out. They have the attributes
// message and omitted.
const Omitted = "log lines omitted"

// Handler is a slog.Handler that leaves out lines whose message comes too often, and counts
// them. Lines below slog.LevelInfo are never left out: whoever wants those wants all. Any
// goroutine may call its methods; those that WithAttrs and WithGroup return count together.
type Handler struct {
	next   slog.Handler
	limits *limits
}

// New returns a Handler that hands lines on to next.
func New(next slog.Handler) *Handler {
	return &Handler{next, &limits{root: next, buckets: make(map[key]*bucket)}}
}

// Enabled reports whether next takes lines of the level.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle hands the line on, or counts it as left out.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo && !h.limits.allow(r.Level, r.Message) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs returns a Handler whose lines have the attributes.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.next.WithAttrs(attrs), h.limits}
}

// WithGroup returns a Handler whose attributes are in the group.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.next.WithGroup(name), h.limits}
}

// Unlimited returns the handler that leaves nothing out, for a line that must not be missed.
func (h *Handler) Unlimited() slog.Handler { return h.next }

// Flush logs the counts of what was left out and has not been logged yet.
func (h *Handler) Flush() { h.limits.flush() }

// limits are the counts of all Handlers that come of one.
type limits struct {
	root slog.Handler // without attributes

	mu      sync.Mutex // held shortly, and not while something is logged
	buckets map[key]*bucket
	swept   time.Time   // when buckets were last removed
	timer   *time.Timer // nil: nothing was left out since the last flush
}

type key struct {
	level   slog.Level
	message string
}

// bucket is a token bucket. A full one is as good as none.
type bucket struct {
	tokens  float64
	at      time.Time // when tokens was right
	omitted int
}

// fill adds what has come since.
func (b *bucket) fill(now time.Time) {
	b.tokens = min(Burst, b.tokens+max(0, now.Sub(b.at).Seconds())*PerSecond)
	b.at = now
}

// allow reports whether a line is to be logged.
func (l *limits) allow(level slog.Level, message string) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(level, message, now)
	b.fill(now)
	if b.tokens >= 1 {
		b.tokens--
		return true
	}
	b.omitted++
	if l.timer == nil {
		l.timer = time.AfterFunc(every, l.flush)
	}
	return false
}

// bucket returns the bucket of a message. mu is held.
func (l *limits) bucket(level slog.Level, message string, now time.Time) *bucket {
	switch { // so that levels do not add to the keys
	case level >= slog.LevelError:
		level = slog.LevelError
	case level >= slog.LevelWarn:
		level = slog.LevelWarn
	default:
		level = slog.LevelInfo
	}
	k := key{level, message[:min(len(message), maxMessage)]}
	if b := l.buckets[k]; b != nil {
		return b
	}
	if len(l.buckets) >= maxKeys && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for k, b := range l.buckets {
			if b.fill(now); b.tokens == Burst && b.omitted == 0 {
				delete(l.buckets, k)
			}
		}
	}
	if len(l.buckets) >= maxKeys {
		k = key{level, others}
		if b := l.buckets[k]; b != nil {
			return b
		}
	}
	b := &bucket{tokens: Burst, at: now}
	k.message = strings.Clone(k.message) // which may be a small part of something large
	l.buckets[k] = b
	return b
}

// others stands for the messages that are more than maxKeys.
const others = "other messages"

// flush logs what was left out.
func (l *limits) flush() {
	type count struct {
		key
		n int
	}
	var counts []count
	l.mu.Lock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	for k, b := range l.buckets {
		if b.omitted > 0 {
			counts = append(counts, count{k, b.omitted})
			b.omitted = 0
		}
	}
	l.mu.Unlock()
	ctx := context.Background()
	for _, c := range counts {
		r := slog.NewRecord(time.Now(), c.level, Omitted, 0)
		r.AddAttrs(slog.String("message", strings.ToValidUTF8(c.message, "")), slog.Int("omitted", c.n))
		if l.root.Enabled(ctx, c.level) {
			l.root.Handle(ctx, r) // as slog.Logger has it, an error is nobody's
		}
	}
}
