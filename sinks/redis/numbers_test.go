// This file holds what is promised in numbers against numbers of its own.

package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/commands"
)

// All shards together hold 100,000 commands, one 1,000 at most and 100 at least.
func TestShardHeld(t *testing.T) {
	for shards, want := range map[int]int{0: 1000, 1: 1000, 100: 1000, 101: 990, 200: 500, 999: 100, 1000: 100, 5000: 100} {
		if got := shardHeld(shards); got != want {
			t.Errorf("of %d shards each holds %d, want %d", shards, got, want)
		}
	}
}

// A read is of 64 entries of a stream at most, and of 512 in all, but for 4 of each.
func TestCountOf(t *testing.T) {
	r := &commandReader{count: 64}
	for streams, want := range map[int]int64{0: 64, 1: 64, 8: 64, 16: 32, 100: 5, 128: 4, 1000: 4} {
		if got := r.countOf(streams); got != want {
			t.Errorf("of %d streams %d entries each are read, want %d", streams, got, want)
		}
	}
	if r.count = 3; r.countOf(1) != 3 {
		t.Error("more is read than is good")
	}
	if readCount != 64 || readBytes != 4<<20 {
		t.Errorf("reads begin to shrink at %d entries and %d bytes", readCount, readBytes)
	}
}

// 100,000 commands are left in Redis for shards that take no more, and what comes then is refused.
func TestLeftCommandsAreBounded(t *testing.T) {
	var log bytes.Buffer
	r := &commandReader{CommandOptions: CommandOptions{Log: slog.New(slog.NewTextHandler(&log, nil))}, left: make(map[int]int),
		held: make(map[entryID]int), quota: commands.Quota{PerShard: 100}}
	for range 90 {
		r.quota.Hold(7)
	}
	for i := range 100_000 {
		delivery{r, entryID{"SEND", fmt.Sprint(i)}}.Later(t.Context(), 7, nil)
	}
	if r.leftCount != 100_000 || log.Len() > 0 || r.left[7] != 45 {
		t.Fatalf("%d are left, until the shard holds %d: %s", r.leftCount, r.left[7], &log)
	}
	delivery{r, entryID{"SEND", "next"}}.Later(t.Context(), 7, nil)
	if r.leftCount != 100_000 || strings.Count(log.String(), "command refused") != 1 || len(r.acks) != 1 {
		t.Errorf("%d are left, %d acknowledged: %s", r.leftCount, len(r.acks), &log)
	}
	// What was read before is never refused for it.
	r.undone = map[string]string{"SEND": "0"}
	delivery{r, entryID{"SEND", "old"}}.Later(t.Context(), 7, nil)
	if r.leftCount != 100_001 || len(r.acks) != 1 {
		t.Errorf("%d are left, %d acknowledged", r.leftCount, len(r.acks))
	}
}

// A stream is trimmed with its first entry, and then with each thousandth or after a second.
func TestWhenStreamsAreTrimmed(t *testing.T) {
	s := &Sink{o: Options{Body: func(dst []byte, ev *sinks.Event) ([]byte, error) { return dst, nil }},
		streams: make(map[string]*stream), offsets: make(map[string]*offset)}
	now := time.Now()
	add := func(n int, after time.Duration) (trims int) {
		now = now.Add(after)
		b := &batch{at: now, events: make([]sinks.Event, n)}
		for i := range b.events {
			b.events[i].Type = []byte("A")
			s.add(b, int32(i))
		}
		return len(b.groups[0].trims)
	}
	for i, tt := range []struct {
		n     int
		after time.Duration
		want  int
	}{
		{1, 0, 1}, {999, 0, 0}, {1, 0, 1}, {2000, 0, 2}, {1, time.Second - 1, 0}, {1, 1, 1}, {998, time.Second - 1, 0}, {1, 1, 1}, {1000, 0, 1},
	} {
		if got := add(tt.n, tt.after); got != tt.want {
			t.Errorf("step %d: %d trims, want %d", i, got, tt.want)
		}
	}
}

// Dead letters are logged every 10 s at most, with how many there were.
func TestDeadLettersAreLoggedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &Sink{o: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, figures: broker.NewFigures(DeadLetterReasons, nil)}
		put := func() { s.deadLetter(&sinks.Event{Type: []byte("A")}, notAStream, errors.New("WRONGTYPE no stream")) }
		for range 5 {
			put()
		}
		time.Sleep(10*time.Second - 1)
		put()
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "so_far=1\n") {
			t.Errorf("%d lines: %s", n, &log)
		}
		time.Sleep(time.Nanosecond)
		put()
		if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "so_far=7\n") {
			t.Errorf("%d lines: %s", n, &log)
		}
	})
}

// Lines about repairs come once a minute.
func TestLimitMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limit
		for i, tt := range []struct {
			after time.Duration
			want  bool
		}{{0, true}, {0, false}, {time.Minute - 1, false}, {1, true}, {time.Minute, true}} {
			time.Sleep(tt.after)
			if got := l.allow(); got != tt.want {
				t.Errorf("step %d: %v", i, got)
			}
		}
	})
}

// An address is dialed five times at once, and then every 100 ms.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer{next: make(map[string]time.Time)}
		began := time.Now()
		for i, ms := range []int{0, 0, 0, 0, 0, 100, 200, 300} {
			if err := p.wait(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(began); got != time.Duration(ms)*time.Millisecond {
				t.Errorf("attempt %d is after %v, want %d ms", i+1, got, ms)
			}
		}
		if p.wait(t.Context(), "b"); time.Since(began) != 300*time.Millisecond {
			t.Error("one address waits for another")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.wait(ctx, "a"); err == nil {
			t.Error("a dial whose context has ended goes on")
		}
	})
}

// What Redis may reply: strings of 64 MiB, 512 MiB and 1,048,576 elements in all, eight levels, lines
// of 64 KiB.
func TestReplyBounds(t *testing.T) {
	bulk := func(n int) string { return fmt.Sprintf("$%d\r\n", n) }
	line := func(n int) string { return "+" + strings.Repeat("x", n) + "\r\n" }
	for _, tt := range []struct {
		good, bad string
		large     bool
	}{
		{bulk(67108864), bulk(67108865), true},
		{"*1048576\r\n", "*1048577\r\n", true},
		{"%524288\r\n", "%524289\r\n", true},
		{"*2\r\n*1048574\r\n", "*2\r\n*1048575\r\n", true},
		{strings.Repeat("*1\r\n", 8), strings.Repeat("*1\r\n", 9), false},
		{line(65535), line(65536), false},
	} {
		var r replies
		if _, bad := r.feed([]byte(tt.good), false); bad != "" {
			t.Errorf("%.30q: the reply %s", tt.good, bad)
		}
		r = replies{}
		if _, bad := r.feed([]byte(tt.bad), false); bad == "" || r.large != tt.large {
			t.Errorf("%.30q passes, or is large: %v", tt.bad, r.large)
		}
	}
	// All of its strings together.
	for last, want := range map[int]bool{0: true, 1: false} {
		var r replies
		text := []byte("*9\r\n")
		for range 8 {
			text = append(text, bulk(67108864)...)
			if _, bad := r.feed(text, false); bad != "" {
				t.Fatalf("the reply %s", bad)
			}
			r.number, r.state = 0, afterBulk // as if they had come
			text = []byte("\r\n")
		}
		if _, bad := r.feed(append(text, bulk(last)...), false); (bad == "") != want {
			t.Errorf("after 512 MiB a string of %d bytes: %q", last, bad)
		}
	}
}

// The seq of a position is one that the script can count with.
func TestPositionSeqBound(t *testing.T) {
	for seq, want := range map[int64]bool{0: false, 1: true, 9007199254740992: true, 9007199254740993: false} {
		if got, ok := positionSeq(&sinks.Event{Seq: seq}); ok != want || got != seq {
			t.Errorf("%d: %d, %v", seq, got, ok)
		}
	}
	if seq, ok := positionSeq(&sinks.Event{Gap: true}); !ok || seq != 1<<63-1 {
		t.Errorf("a gap: %d, %v", seq, ok)
	}
}

// Bounds and times that no other test has by their numbers.
func TestBounds(t *testing.T) {
	for _, b := range []struct {
		what      string
		got, want any
	}{
		{"how long an answer may take", answerTimeout, 10 * time.Second},
		{"how long the replicas have", replicaTimeout, 5 * time.Second},
		{"how often a refused entry is tried", maxTries, 3},
		{"how many connections fail before entries are sent alone", suspicion, 2},
		{"bytes from which an entry may be too large for Redis", leastLimit, 1048576},
		{"how long a stream counts as one that takes nothing", wrongFor, 10 * time.Second},
		{"how many rounds follow without a pause", quickTries, 3},
		{"how many batches are sent together", slots, 8},
		{"how many streams are remembered", maxStreams, 4096},
		{"bytes of a dedup position", maxPosition, 65536},
		{"sessions that a dedup position remembers", keptBefore, 3},
		{"commands that are claimed at once", prefetch, 256},
		{"how long a forwarded command is kept", forwardedFor, time.Hour},
		{"how long a command waits that could not be forwarded", retryPause, 2 * time.Second},
		{"how long Redis has to answer that a command is forwarded, after the end of reading", settleTimeout, 5 * time.Second},
		{"how long a read waits", readBlock, 500 * time.Millisecond},
		{"how long acknowledgements are gathered", ackPause, 20 * time.Millisecond},
		{"the wait after one that failed", ackRetry, time.Second},
		{"the wait between two passes", repassPause, 100 * time.Millisecond},
		{"failures that a client is kept for", reconnectAfter, 5},
	} {
		if fmt.Sprint(b.got) != fmt.Sprint(b.want) {
			t.Errorf("%s: %v, want %v", b.what, b.got, b.want)
		}
	}
}
