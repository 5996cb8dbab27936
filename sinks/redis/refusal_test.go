//go:build unix

// This file tests that no error and no answer costs an event that is not the event's own, and that
// nothing is tried without a pause.

package redis

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

func blobs(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(p), p)
	}
	return b.String()
}

// scriptAnswers are what EVALSHA is answered for ever.
var scriptAnswers = map[string]string{
	"proxy":             "-ERR upstream failure\r\n",
	"MOVED":             "-MOVED 3999 127.0.0.1:6381\r\n",
	"ASK":               "-ASK 3999 127.0.0.1:6381\r\n",
	"LOADING":           "-LOADING Redis is loading the dataset in memory\r\n",
	"BUSY":              "-BUSY Redis is busy running a script\r\n",
	"OOM":               "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
	"READONLY":          "-READONLY You can't write against a read only replica.\r\n",
	"CLUSTERDOWN":       "-CLUSTERDOWN The cluster is down\r\n",
	"MISCONF":           "-MISCONF Errors writing to the AOF file\r\n",
	"NOPERM":            "-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
	"NOSCRIPT":          "-NOSCRIPT No matching script.\r\n",
	"WRONGTYPE":         "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", // of the call, not of an entry
	"no protocol":       "-ERR Protocol error: invalid bulk length\r\n",
	"Lua":               "-ERR user_script:5: attempt to perform arithmetic on a nil value\r\n",
	"empty array":       "*0\r\n",
	"null array":        "*-1\r\n",
	"null":              "$-1\r\n",
	"number":            ":5\r\n",
	"OK":                "+OK\r\n",
	"map":               "%1\r\n:0\r\n:0\r\n",
	"too much":          "*1\r\n:100000\r\n",
	"no reason":         "*1\r\n:0\r\n",
	"below zero":        "*1\r\n:-1\r\n",
	"text":              "*1\r\n$1\r\n5\r\n",
	"part":              "*2\r\n:0\r\n$4\r\npart\r\n",
	"gap":               "*3\r\n:0\r\n" + blobs("gap", "0"),
	"gap, no number":    "*3\r\n:0\r\n" + blobs("gap", "x"),
	"position":          "*3\r\n:0\r\n$8\r\nposition\r\n*0\r\n",
	"position, garbage": "*3\r\n:0\r\n$8\r\nposition\r\n*3\r\n" + blobs("0", "garbage", "1"),
	"position, alone":   "*2\r\n:0\r\n$8\r\nposition\r\n",
	"offset":            "*3\r\n:0\r\n" + blobs("offset", "abc"),
	"positions":         "*2\r\n:0\r\n$9\r\npositions\r\n",
	"entry":             "*3\r\n:0\r\n" + blobs("entry", "ERR upstream failure"),
	"entry, rights":     "*3\r\n:0\r\n" + blobs("entry", "NOPERM no permission"),
	"entry, type":       "*3\r\n:0\r\n" + blobs("entry", "WRONGTYPE Operation"), // TYPE says that it is a stream
	"huge":              "*2147483647\r\n",
	"negative":          "*-5\r\n",
	"surplus":           "*1\r\n:5\r\n*1\r\n:5\r\n",
	"message":           ">3\r\n" + blobs("subscribe", "a") + ":1\r\n",
}

// Whatever the script answers: no panic, no busy loop, and the events arrive once it works again.
func TestRefusals(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.CLI("XADD", "stream of entry, type", "*", "data", "xxxxx0")
	for name, reply := range scriptAnswers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newHostile(t, srv.Addr, 1)
			s.use(always("EVALSHA", reply))
			stream := "stream of " + name
			h := start(t, Options{Bot: name}, s.Addr().String())
			began := time.Now()
			h.publish(100, stream)
			h.wait("rounds", func() bool { return s.count("EVALSHA") > quickTries })
			if n := s.count("EVALSHA"); n > allowed(time.Since(began)) {
				t.Errorf("%d rounds in %s", n, time.Since(began))
			}
			h.wait("word of it", func() bool { return strings.Contains(h.log.String(), "unavailable; buffering events") })
			if st := h.sink.Status(); st.Available || st.Error == "" || st.Since.Before(began.Add(-time.Second)) || st.Pending != 100 || st.Oldest <= 0 {
				t.Errorf("while it refuses: %+v", st)
			}
			s.use(nil)
			h.settled()
			n := 100
			h.wait("the end of the outage, and how many events waited", func() bool {
				return h.sink.Status().Available && strings.Contains(h.log.String(), "waiting=100\n")
			})
			if st := h.sink.Status(); st.Error != "" || st.Unavailable <= 0 || st.Pending != 0 || st.Retried == 0 || st.Resent == 0 || deadLettered(st) != 0 {
				t.Errorf("after it: %+v", st)
			}
			if name == "entry, type" {
				n++
			}
			if got := len(entries(t, srv.Addr, stream)); got != n {
				t.Errorf("%d entries, want %d", got, n)
			}
			if n := strings.Count(h.log.String(), "unavailable; buffering events"); n != 1 {
				t.Errorf("logged %d times", n)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.aside) > 0 {
				t.Errorf("%d events set aside, the first: %s", len(h.aside), h.aside[0])
			}
		})
	}
}

// An error in the place of the answer to a batch that is written, while those after it are
// answered: the batch is neither repeated, nor are later events taken for it.
func TestAnswerReplaced(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := newHostile(t, srv.Addr, 1)
	h := start(t, Options{}, s.Addr().String())
	var calls atomic.Int64
	s.use(func(_ *rand.Rand, c []string) ([]byte, bool) {
		if c[0] != "EVALSHA" {
			return nil, true
		}
		if n := calls.Add(1); n%23 == 0 {
			return []byte([]string{"-ERR upstream timeout\r\n", "*0\r\n", ":1\r\n"}[n%3]), true
		}
		return nil, true
	})
	h.publish(30_000, "A", "B")
	s.use(nil)
	h.settled()
	whole(t, srv.Addr, 30_000, "A", "B")
}

// A connection that ends whenever the script is called is no fault of an event that any Redis
// would take.
func TestCutForever(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := newHostile(t, srv.Addr, 1)
	h := start(t, Options{}, s.Addr().String())
	h.publish(1, "A")
	h.settled()
	entry := fmt.Sprintf("$%d\r\n", 5+len("2")) // of event 2
	s.mu.Lock()
	s.cutAt = []byte(entry + "\xdb")
	s.mu.Unlock()
	h.publish(5, "A")
	h.wait("suspicion", func() bool { return strings.Contains(h.log.String(), "closes the connection when this event is sent") })
	s.mu.Lock()
	s.cutAt = nil
	s.mu.Unlock()
	h.settled()
	whole(t, srv.Addr, 6, "A")
	if len(h.aside) > 0 {
		t.Errorf("set aside: %q", h.aside)
	}
}

// Nor is a reply that the guard does not let through the fault of an event, whatever its size.
func TestReplyIsNoFaultOfEvent(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := newHostile(t, srv.Addr, 1)
	h := start(t, Options{}, s.Addr().String())
	h.publish(1, "A")
	h.settled()
	large := bytes.Repeat([]byte("x"), leastLimit)
	s.mu.Lock()
	s.cutAt, s.last = large, fmt.Appendf(nil, "$%d\r\n", maxBulk+1)
	clear(s.turns)
	s.mu.Unlock()
	if err := h.sink.Publish(t.Context(), []sinks.Event{{Type: []byte("A"), Data: large}}, h.ack); err != nil {
		t.Fatal(err)
	}
	h.sent++
	h.wait("tries", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return s.count("EVALSHA") > 2*(suspicion+maxTries) || len(h.aside) > 0
	})
	s.mu.Lock()
	s.cutAt = nil
	s.mu.Unlock()
	h.settled()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.aside) > 0 {
		t.Errorf("set aside: %.200q", h.aside)
	}
	if got := len(entries(t, srv.Addr, "A")); got != 2 {
		t.Errorf("%d entries, want 2", got)
	}
}

// What the command reader is answered for ever, by the command.
var readerAnswers = map[string][2]string{
	"foreign stream":    {"XREADGROUP", "%1\r\n" + blobs("foreign") + "*1\r\n*2\r\n" + blobs("1-1") + "*2\r\n" + blobs("data", "{}")},
	"nothing":           {"XREADGROUP", "*-1\r\n"},
	"empty":             {"XREADGROUP", "%0\r\n"},
	"a refused command": {"XREADGROUP", "%1\r\n" + blobs("SEND") + "*1\r\n*2\r\n" + blobs("99-1") + "*2\r\n" + blobs("data", "none")},
	"the same again":    {"XREADGROUP", "%1\r\n" + blobs("SEND") + "*1\r\n*2\r\n" + blobs("1-1") + "*2\r\n" + blobs("other", "{}")},
	"no ids":            {"XREADGROUP", "%1\r\n" + blobs("SEND") + "*1\r\n*2\r\n" + blobs("x") + "*-1\r\n"},
	"number":            {"XREADGROUP", ":1\r\n"},
	"proxy":             {"XREADGROUP", "-ERR upstream failure\r\n"},
	"NOGROUP":           {"XREADGROUP", "-NOGROUP No such key\r\n"},
	"claim, empty":      {"XAUTOCLAIM", "*0\r\n"},
	"claim, one":        {"XAUTOCLAIM", "*1\r\n" + blobs("0-0")},
	"claim, number":     {"XAUTOCLAIM", ":1\r\n"},
	"claim for ever":    {"XAUTOCLAIM", "*2\r\n" + blobs("0-0") + "*1\r\n" + blobs("1-1")},
	"no groups":         {"XGROUP", "-ERR no\r\n"},
	"acknowledge":       {"XACK", "-LOADING no\r\n"},
	"acknowledge, odd":  {"XACK", "*0\r\n"},
	"acknowledge, huge": {"XACK", "*2147483647\r\n"},
}

// Whatever the reader is answered, it does not ask without a pause, and reads when it is given
// commands.
func TestReaderAnswers(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	n := 0
	for name, answer := range readerAnswers {
		shard := n
		n++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &commandWorld{t: t, srv: srv}
			option, err := NewClientOption([]string{srv.Addr}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if w.bot, err = Connect(t.Context(), option); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.bot.Close)
			s := newHostile(t, srv.Addr, 1)
			s.use(always(answer[0], answer[1]))
			o, err := NewClientOption([]string{s.Addr().String()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got atomic.Int64
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			began := time.Now()
			go func() {
				defer close(done)
				ReadCommands(ctx, CommandOptions{Client: o, Group: name, Consumer: "sluice-0", Shards: []int{shard}, Timeout: time.Minute,
					Log: slog.New(slog.NewTextHandler(&w.log, nil)), Send: func(_ context.Context, c sinks.Command) error { got.Add(1); c.Sent(); return nil }})
			}()
			t.Cleanup(func() { cancel(); <-done })
			stream := fmt.Sprint(shard)
			w.add(stream, rawString(packet(1)))
			least := 4
			switch name {
			case "claim for ever": // each half of Timeout
				least = 1
			case "acknowledge", "acknowledge, odd":
				least = 2
			}
			w.wait("rounds", func() bool { return s.count(answer[0]) >= least })
			if n := s.count(answer[0]); n > allowed(time.Since(began)) {
				t.Errorf("%d rounds in %s", n, time.Since(began))
			}
			s.use(nil)
			w.wait("the command", func() bool { return got.Load() >= 1 })
			w.wait("acknowledgement", func() bool {
				answer, err := w.bot.Do(t.Context(), w.bot.B().Xpending().Key(stream).Group(name).Build()).ToArray()
				if err != nil {
					return false
				}
				n, _ := answer[0].AsInt64()
				return n == 0
			})
			if n := strings.Count(w.log.String(), "unavailable; reading no commands"); n > 1 {
				t.Errorf("logged %d times", n)
			}
		})
	}
}
