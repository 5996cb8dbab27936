//go:build unix

// This file tests what the sink's own keys hold after a batch that was written in part, and how long
// they live.

package redis

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// The least that the offset and the positions must live for: a process that is away for an hour, or a
// night, finds them. Redis gives back the memory of a bot that is gone.
const (
	offsetLives   = 24 * time.Hour
	positionsLive = 7 * 24 * time.Hour
)

// expires checks that a key has just been given d to live.
func expires(t *testing.T, srv *redistest.Server, key string, d time.Duration) {
	t.Helper()
	text := strings.TrimSpace(srv.CLI("TTL", key))
	ttl, err := strconv.Atoi(text)
	if got := time.Duration(ttl) * time.Second; err != nil || got > d || got < d-30*time.Minute {
		t.Errorf("%s expires in %s s, want %v (-1 is never)", key, text, d)
	}
}

func offsetOf(srv *redistest.Server) string {
	return strings.TrimSpace(srv.CLI("KEYS", "sluice:fence:*"))
}

// Each way in which the offset and the positions are written gives them their time anew.
func TestOwnKeysExpire(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	h := start(t, Options{Bot: "bot"}, srv.Addr)
	const positions = "sluice:seen:bot"
	old := func(keys ...string) { // as if their end were near
		for _, key := range keys {
			srv.CLI("EXPIRE", key, "60")
		}
	}
	check := func(when string) {
		t.Helper()
		t.Log(when)
		expires(t, srv, offsetOf(srv), offsetLives)
		expires(t, srv, positions, positionsLive)
	}
	h.publish(100, "A")
	h.settled()
	check("the first batch")

	old(offsetOf(srv), positions)
	h.publish(100, "A")
	h.settled()
	check("a batch later")

	srv.CLI("PERSIST", positions)
	srv.CLI("PERSIST", offsetOf(srv))
	h.publish(100, "A")
	h.settled()
	check("after somebody had them live for ever")

	srv.CLI("SET", "WRONG", "no stream")
	h.publish(100, "A", "WRONG") // undone in part
	h.settled()
	check("a batch of which entries are refused")

	srv.CLI("SET", offsetOf(srv), "abc")
	srv.CLI("SET", positions, "no hash")
	h.publish(100, "A")
	h.settled()
	check("repaired")

	srv.CLI("FLUSHALL")
	h.publish(100, "A")
	h.settled()
	check("emptied")
}

// What the repairs and the undoing leave behind expires, too, if nothing follows: a sink that ends
// at once must leave nothing for ever.
func TestRefusedBatchLeavesKeysThatExpire(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.CLI("SET", "WRONG", "no stream")
	s := newHostile(t, srv.Addr, 1)
	h := start(t, Options{Bot: "bot"}, s.Addr().String())
	h.publish(1, "A")
	h.settled()
	srv.CLI("EXPIRE", offsetOf(srv), "60")
	srv.CLI("EXPIRE", "sluice:seen:bot", "60")
	s.use(once(unanswered))
	publishAll(t, h, partlyRefused())
	h.wait("two entries", func() bool { return strings.TrimSpace(srv.CLI("XLEN", "B")) == "2" })
	h.sink.Close()
	expires(t, srv, offsetOf(srv), offsetLives)
	expires(t, srv, "sluice:seen:bot", positionsLive)
}

// once has the first call of the script attacked, and those after it neither passed on nor answered.
func once(first attack) attack {
	var done atomic.Bool
	return func(r *rand.Rand, c []string) ([]byte, bool) {
		switch {
		case c[0] != "EVALSHA":
			return nil, true
		case done.CompareAndSwap(false, true):
			return first(r, c)
		}
		return []byte{}, false
	}
}

// unanswered passes a command on, and keeps the answer.
func unanswered(*rand.Rand, []string) ([]byte, bool) { return []byte{}, true }

// partlyRefused are five events, of which the third goes to a key that is no stream.
func partlyRefused() (events []sinks.Event) {
	for i := range 5 {
		ev := sinks.Event{Shard: i % 2, Session: "partly", Seq: int64(i/2 + 1), Began: 5, Type: []byte("B"), Data: fmt.Append(nil, i)}
		if i == 2 {
			ev.Type = []byte("WRONG")
		}
		events = append(events, ev)
	}
	return events
}

func publishAll(t *testing.T, h *harness, events []sinks.Event) {
	t.Helper()
	if err := h.sink.Publish(t.Context(), events, h.ack); err != nil {
		t.Fatal(err)
	}
	h.sent += len(events)
}

// A batch of which Redis refuses an entry is written up to that one, and that is noted with it: the
// next process, if this one is killed before it has the answer, repeats none and leaves none out.
func TestPartialWriteIsNoted(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.CLI("SET", "WRONG", "no stream")
	s := newHostile(t, srv.Addr, 1)
	s.use(once(unanswered))
	h := start(t, Options{Bot: "bot"}, s.Addr().String())
	publishAll(t, h, partlyRefused())
	h.wait("two entries", func() bool { return strings.TrimSpace(srv.CLI("XLEN", "B")) == "2" })
	h.sink.Close()
	if h.acked != 0 {
		t.Fatalf("%d events acknowledged without an answer", h.acked)
	}
	if got := strings.TrimSpace(srv.CLI("GET", offsetOf(srv))); got != "2" {
		t.Errorf("the offset is at %s, and 2 entries are written", got)
	}
	for shard, want := range []string{"partly:1::5", "partly:1::5"} {
		if got := strings.TrimSpace(srv.CLI("HGET", "sluice:seen:bot", strconv.Itoa(shard))); got != want {
			t.Errorf("the position of shard %d is %q, want %q", shard, got, want)
		}
	}
	// The next process, after whoever looks after Redis has put that right.
	srv.CLI("DEL", "WRONG")
	next := start(t, Options{Bot: "bot"}, srv.Addr)
	publishAll(t, next, partlyRefused())
	next.settled()
	if got := strings.Join(entries(t, srv.Addr, "B"), " "); got != "0 1 3 4" {
		t.Errorf("the stream has %s, want 0 1 3 4", got)
	}
	if got := strings.Join(entries(t, srv.Addr, "WRONG"), " "); got != "2" {
		t.Errorf("the mended stream has %q, want 2", got)
	}
	if st := next.sink.Status(); st.Repeated != 2 || st.Published != 3 {
		t.Errorf("%+v", st)
	}
}

// The same where the entry that is refused ends a session: a gap is noted as one.
func TestPartialWriteOfGapIsNoted(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.CLI("SET", "WRONG", "no stream")
	s := newHostile(t, srv.Addr, 1)
	s.use(once(unanswered))
	events := []sinks.Event{
		{Session: "a", Seq: 7, Type: []byte("B"), Data: []byte("0")},
		{Session: "a", Gap: true, Type: []byte("B"), Data: []byte("1")},
		{Session: "a", Type: []byte("WRONG"), Data: []byte("2")}, // has no seq
	}
	h := start(t, Options{Bot: "bot"}, s.Addr().String())
	publishAll(t, h, events)
	h.wait("two entries", func() bool { return strings.TrimSpace(srv.CLI("XLEN", "B")) == "2" })
	h.sink.Close()
	if got := strings.TrimSpace(srv.CLI("HGET", "sluice:seen:bot", "0")); got != "a:gap" {
		t.Errorf("the position is %q, want a:gap", got)
	}
}

// A batch of which nothing is written leaves the positions as they were.
func TestRefusedBatchMovesNothing(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.CLI("SET", "WRONG", "no stream")
	s := newHostile(t, srv.Addr, 1)
	h := start(t, Options{Bot: "bot"}, s.Addr().String())
	publishAll(t, h, []sinks.Event{{Session: "a", Seq: 1, Type: []byte("B"), Data: []byte("0")}})
	h.settled()
	answered := make(chan struct{})
	s.use(once(func(r *rand.Rand, c []string) ([]byte, bool) {
		defer close(answered)
		return nil, true
	}))
	publishAll(t, h, []sinks.Event{{Session: "a", Seq: 2, Type: []byte("WRONG"), Data: []byte("1")}, {Session: "a", Seq: 3, Type: []byte("B"), Data: []byte("2")}})
	<-answered
	h.wait("the next try", func() bool { return s.count("EVALSHA") >= 2 })
	if got := strings.TrimSpace(srv.CLI("HGET", "sluice:seen:bot", "0")); got != "a:1" {
		t.Errorf("the position is %q, want a:1", got)
	}
	if got := strings.TrimSpace(srv.CLI("GET", offsetOf(srv))); got != "1" {
		t.Errorf("the offset is at %s, want 1", got)
	}
	h.sink.Close()
}

// An offset that was repaired expires, too, if nothing is written after it.
func TestRepairedOffsetExpires(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := newHostile(t, srv.Addr, 1)
	h := start(t, Options{Bot: "bot"}, s.Addr().String())
	h.publish(7, "A")
	h.settled()
	offset := offsetOf(srv)
	for _, value := range []string{"abc", "3"} { // somebody else's, and an older one
		srv.CLI("SET", offset, value)
		s.use(once(func(*rand.Rand, []string) ([]byte, bool) { return nil, true }))
		publishAll(t, h, []sinks.Event{{Type: []byte("A"), Data: []byte(strconv.Itoa(h.sent + 1))}})
		h.wait("repair", func() bool { return strings.TrimSpace(srv.CLI("GET", offset)) != value })
		expires(t, srv, offset, offsetLives)
		if got := strings.TrimSpace(srv.CLI("GET", offset)); got != strconv.Itoa(h.sent-1) {
			t.Errorf("the offset is at %s, and %d entries are written", got, h.sent-1)
		}
		s.cut()
		s.use(nil)
		h.settled()
	}
}
