//go:build unix

// This file tests what becomes of the sink's own keys when somebody else writes to them.

package redis

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// foreignKey publishes 1,000 events, has f change the offset's key or that of the positions, publishes
// 1,000 more, and checks that all are there, once, and that no event was set aside.
func foreignKey(t *testing.T, f func(srv *redistest.Server, offset, positions string)) *harness {
	t.Helper()
	srv := redistest.Start(t)
	client, err := NewClientOption([]string{srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client.ConnWriteTimeout = patience // a value of 64 MiB takes as long as it takes
	h := start(t, Options{Bot: "bot", Client: client})
	h.publish(1000, "A", "B")
	h.settled()
	f(srv, strings.TrimSpace(srv.CLI("KEYS", "sluice:fence:*")), "sluice:seen:bot")
	h.publish(1000, "A", "B")
	h.settled()
	whole(t, srv.Addr, 2000, "A", "B")
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.aside) > 0 {
		t.Errorf("%d events set aside, the first: %s", len(h.aside), h.aside[0])
	}
	return h
}

// hugeValue has a server do a command with a value that no reply may have in it.
func hugeValue(t *testing.T, srv *redistest.Server, command func(rueidis.Builder, string) rueidis.Completed) {
	t.Helper()
	large(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{srv.Addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Do(t.Context(), command(client.B(), strings.Repeat("x", maxBulk+1))).Error(); err != nil {
		t.Fatal(err)
	}
}

// An offset that nobody of ours has written is logged and repaired: no event counts as written by
// it, and none is given up.
func TestForeignOffset(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"abc", "", "1001", "5000000", "9223372036854775807", "1e300", "inf", "nan", "-1", "1000.5"} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			h := foreignKey(t, func(srv *redistest.Server, offset, _ string) { srv.CLI("SET", offset, value) })
			if n := strings.Count(h.log.String(), "was changed by somebody else"); n != 1 {
				t.Errorf("logged %d times", n)
			}
		})
	}
	t.Run("huge", func(t *testing.T) {
		t.Parallel()
		foreignKey(t, func(srv *redistest.Server, offset, _ string) {
			hugeValue(t, srv, func(c rueidis.Builder, value string) rueidis.Completed {
				return c.Set().Key(offset).Value(value).Build()
			})
		})
	})
	t.Run("hash", func(t *testing.T) {
		t.Parallel()
		foreignKey(t, func(srv *redistest.Server, offset, _ string) {
			srv.CLI("DEL", offset)
			srv.CLI("HSET", offset, "a", "b")
		})
	})
}

// Positions that nobody of ours has written are logged and replaced.
func TestForeignPositions(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"garbage", "", ":", "s:0", "s:9000000000000000000", "s:5:::::", "a:b:c:d", "%zz:%3a"} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			h := foreignKey(t, func(srv *redistest.Server, _, positions string) { srv.CLI("HSET", positions, "0", value) })
			if value != "" && !strings.Contains(h.log.String(), "no dedup position") {
				t.Error("not logged")
			}
		})
	}
	t.Run("another field", func(t *testing.T) {
		t.Parallel()
		foreignKey(t, func(srv *redistest.Server, _, positions string) {
			srv.CLI("HSET", positions, "0", "x", "shard one", "s:1")
		})
	})
	for _, field := range []string{"x", "1"} {
		t.Run("huge "+field, func(t *testing.T) {
			t.Parallel()
			h := foreignKey(t, func(srv *redistest.Server, _, positions string) {
				srv.CLI("HSET", positions, "0", "garbage")
				hugeValue(t, srv, func(c rueidis.Builder, value string) rueidis.Completed {
					return c.Hset().Key(positions).FieldValue().FieldValue(field, value).Build()
				})
			})
			if log := h.log.String(); !strings.Contains(log, "no dedup position") || strings.Contains(log, "unavailable; buffering events") {
				t.Errorf("the log: %.2000s", log)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		foreignKey(t, func(srv *redistest.Server, _, positions string) { srv.CLI("DEL", positions) })
	})
	t.Run("string", func(t *testing.T) {
		t.Parallel()
		h := foreignKey(t, func(srv *redistest.Server, _, positions string) { srv.CLI("SET", positions, "text") })
		if !strings.Contains(h.log.String(), "is no hash") {
			t.Error("not logged")
		}
	})
}

// Session ids with the characters that separate the parts of a position.
func TestForeignSession(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	sessions := []string{":", ",", "%", "", "a:b", "a,b", "%3A", "a:gap:b"}
	for i := range 2 {
		h := start(t, Options{Bot: "bot"}, srv.Addr)
		for _, session := range sessions[4*i:] { // so many the positions know: the second sink finds them written
			for seq := range 20 {
				h.sent++
				ev := sinks.Event{Session: session, Seq: int64(seq + 1), Type: []byte("A"), Data: fmt.Append(nil, h.sent)}
				if seq == 19 {
					ev.Gap = true
				}
				if err := h.sink.Publish(t.Context(), []sinks.Event{ev}, h.ack); err != nil {
					t.Fatal(err)
				}
			}
		}
		h.settled()
		h.sink.Close()
	}
	if got := entries(t, srv.Addr, "A"); len(got) != 8*20 {
		t.Errorf("%d entries, want %d", len(got), 8*20)
	}
}

// A server may give the same id to a new session: nothing of it is left out, and what is sent
// again of it is.
func TestSessionIDReused(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	next := 0
	publish := func(repeated int64, events ...sinks.Event) {
		t.Helper()
		h := start(t, Options{Bot: "bot"}, srv.Addr)
		for i := range events {
			next++
			events[i].Session, events[i].Type, events[i].Data = "s", []byte("A"), fmt.Append(nil, next)
		}
		if err := h.sink.Publish(t.Context(), events, h.ack); err != nil {
			t.Fatal(err)
		}
		h.sent = len(events)
		h.settled()
		h.sink.Close()
		if got := h.sink.Status().Repeated; got != repeated {
			t.Errorf("%d events left out, want %d", got, repeated)
		}
		if repeated > 0 != strings.Contains(h.log.String(), "duplicate events are left out") {
			t.Errorf("the log: %s", h.log.String())
		}
	}
	publish(0, sinks.Event{Seq: 1, Began: 10}, sinks.Event{Seq: 2, Began: 10}, sinks.Event{Seq: 3, Began: 10})
	publish(2, sinks.Event{Seq: 2}, sinks.Event{Seq: 3}, sinks.Event{Seq: 4})                                                                  // resumed
	publish(0, sinks.Event{Seq: 1, Began: 20}, sinks.Event{Seq: 2, Began: 20})                                                                 // identified
	publish(4, sinks.Event{Seq: 3, Began: 10}, sinks.Event{Seq: 4, Began: 10}, sinks.Event{Seq: 1, Began: 20}, sinks.Event{Seq: 2, Began: 20}) // a spool's
	publish(1, sinks.Event{Seq: 1}, sinks.Event{Seq: 3}, sinks.Event{Seq: 3, Gap: true})
	publish(0, sinks.Event{Seq: 1, Began: 30}, sinks.Event{Seq: 2, Began: 30})                                   // both in one process
	publish(2, sinks.Event{Gap: true}, sinks.Event{Seq: 2}, sinks.Event{Seq: 3}, sinks.Event{Seq: 1, Began: 40}) // both in one batch
	if got, want := len(entries(t, srv.Addr, "A")), 3+1+2+2+2+2; got != want {
		t.Errorf("%d entries, want %d", got, want)
	}
}
