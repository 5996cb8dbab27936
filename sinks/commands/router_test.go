// This file tests what becomes of commands that shards take, do not take for now, or never take.

package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
	"sluice/sinks/msgpack"
)

// fakeDelivery records what is called.
type fakeDelivery struct {
	full  bool // Hold is false
	calls []string
}

func (d *fakeDelivery) At() time.Time { return time.Now() }

func (d *fakeDelivery) call(format string, args ...any) {
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
}

func (d *fakeDelivery) Hold(shard int) bool {
	d.call("hold %d", shard)
	return !d.full
}
func (d *fakeDelivery) Release(shard int) { d.call("release %d", shard) }
func (d *fakeDelivery) Sent(shard int)    { d.call("sent %d", shard) }
func (d *fakeDelivery) Dropped(shard int) { d.call("dropped %d", shard) }
func (d *fakeDelivery) Later(_ context.Context, shard int, packet []byte) {
	d.call("later %d %s", shard, packet)
}
func (d *fakeDelivery) Forward(_ context.Context, shard int, packet []byte) {
	d.call("forward %d %s", shard, packet)
}
func (d *fakeDelivery) Refuse(err error) { d.call("refuse %v", err) }

// summary returns what became of one command.
func summary(c *Counts) string {
	var words []string
	for _, st := range c.Status() {
		if st.Received == 0 {
			continue
		}
		words = append(words, st.Source)
		counts := map[string]int64{"given": st.Given, "sent": st.Sent, "forwarded": st.Forwarded, "requeued": st.Requeued, "waiting": st.Waiting}
		maps.Copy(counts, st.Refused)
		for _, word := range slices.Sorted(maps.Keys(counts)) {
			switch counts[word] {
			case 0:
			case 1:
				words = append(words, word)
			default:
				words = append(words, fmt.Sprint(counts[word], " ", word))
			}
		}
	}
	return strings.Join(words, " ")
}

// One thing becomes of each command, and what was counted for its shard is released.
func TestRoute(t *testing.T) {
	const packet = `{"op":3}`
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refusal := errors.New("no such thing")
	guild := fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, 21<<22, packet) // shard 5 of 16
	for _, tt := range []struct {
		what, name, value string
		ctx               context.Context
		full              bool
		err               error
		want              []string
		counts            string
	}{
		{"taken", "SEND", guild, t.Context(), false, nil, []string{"hold 5", "sent 5"}, "SEND given sent"},
		{"taken, by its shard's name", "3", packet, t.Context(), false, nil, []string{"hold 3", "sent 3"}, "shard given sent"},
		{"none", "SEND", "nonsense", t.Context(), false, nil, []string{"refuse something follows the MessagePack value"}, "SEND malformed"},
		{"the shard holds enough", "SEND", guild, t.Context(), true, nil, []string{"hold 5", "later 5 " + packet}, "SEND waiting"},
		{"the shard's queue is full", "SEND", guild, t.Context(), false, fmt.Errorf("shard 5: %w", sinks.ErrQueueFull), []string{"hold 5", "release 5", "later 5 " + packet}, "SEND waiting"},
		{"of another process", "SEND", guild, t.Context(), false, fmt.Errorf("no: %w", &sinks.NotLocalError{Shard: 5}), []string{"hold 5", "release 5", "forward 5 " + packet}, "SEND waiting"}, // until it is forwarded
		{"refused", "SEND", guild, t.Context(), false, refusal, []string{"hold 5", "release 5", "refuse no such thing"}, "SEND malformed"},
		{"the engine has stopped", "SEND", guild, t.Context(), false, fmt.Errorf("no: %w", sinks.ErrStopped), []string{"hold 5", "release 5"}, "SEND stopped"},
		{"the reader stops", "SEND", guild, ended, false, context.Canceled, []string{"hold 5", "release 5"}, "SEND stopped"},
	} {
		d := &fakeDelivery{full: tt.full}
		sent := 0
		counts := NewCounts()
		counts.Reads(Send, Shard)
		counts.Received(tt.name)
		r := Router{Total: 16, Counts: counts, Send: func(ctx context.Context, c sinks.Command) error {
			sent++
			if string(c.Packet) != packet {
				t.Errorf("%s: the packet is %s", tt.what, c.Packet)
			}
			if tt.err == nil {
				c.Sent()
			}
			return tt.err
		}}
		r.Route(tt.ctx, tt.name, []byte(tt.value), d)
		if !slices.Equal(d.calls, tt.want) {
			t.Errorf("%s: %q, want %q", tt.what, d.calls, tt.want)
		}
		if got := summary(counts); got != tt.counts {
			t.Errorf("%s: counted as %s, want %s", tt.what, got, tt.counts)
		}
		if taken := !tt.full && tt.what != "none"; taken != (sent == 1) {
			t.Errorf("%s: sent %d times", tt.what, sent)
		}
	}
}

// Without an engine each command is forwarded, and one for no shard refused.
func TestRouteForwards(t *testing.T) {
	for value, want := range map[string][]string{
		`{"shard":15,"packet":{"op":3}}`:                           {"hold 15", "release 15", `forward 15 {"op":3}`},
		`{"shard":16,"packet":{"op":3}}`:                           {"hold 16", "release 16", "refuse shard 16 does not exist with 16 shards"},
		fmt.Sprintf(`{"guild_id":"%d","packet":{"op":3}}`, 21<<22): {"hold 5", "release 5", `forward 5 {"op":3}`},
	} {
		d := &fakeDelivery{}
		r := Router{Total: 16}
		if r.Route(t.Context(), Send, []byte(value), d); !slices.Equal(d.calls, want) {
			t.Errorf("%s: %q, want %q", value, d.calls, want)
		}
	}
}

// What the engine drops is reported, and counts as waiting until it is read again.
func TestRouteDropped(t *testing.T) {
	d, counts := &fakeDelivery{}, NewCounts()
	counts.Reads(Send)
	counts.Received(Send)
	r := Router{Total: 16, Counts: counts, Send: func(_ context.Context, c sinks.Command) error { c.Dropped(); return nil }}
	r.Route(t.Context(), Send, []byte(`{"shard":5,"packet":{"op":3}}`), d)
	if want := []string{"hold 5", "dropped 5"}; !slices.Equal(d.calls, want) {
		t.Errorf("%q, want %q", d.calls, want)
	}
	if got := summary(counts); got != "SEND given waiting" {
		t.Errorf("counted as %s", got)
	}
}

// A command of a queue that has one shard's alone is tried again until the shard takes it, the
// command is gone, or the reader stops.
func TestWait(t *testing.T) {
	full := fmt.Errorf("shard 3: %w", sinks.ErrQueueFull)
	for _, tt := range []struct {
		what  string
		after int // so many refusals
		err   error
	}{{"taken at once", 0, nil}, {"taken", 7, nil}, {"refused", 7, sinks.ErrStopped}} {
		synctest.Test(t, func(t *testing.T) {
			tries, logged := 0, 0
			r := Router{Send: func(context.Context, sinks.Command) error {
				if tries++; tries <= tt.after {
					return full
				}
				return tt.err
			}}
			began := time.Now()
			err := r.Wait(t.Context(), sinks.Command{}, nil, func(err error) {
				if logged++; err != full {
					t.Errorf("%s: the reason is %v", tt.what, err)
				}
			})
			if err != tt.err || tries != tt.after+1 || logged != tt.after || time.Since(began) != time.Duration(tt.after)*100*time.Millisecond {
				t.Errorf("%s: %v after %d tries in %v, logged %d times", tt.what, err, tries, time.Since(began), logged)
			}
		})
	}
	r := Router{Send: func(context.Context, sinks.Command) error { return full }}
	gone := make(chan struct{})
	if err := r.Wait(t.Context(), sinks.Command{}, gone, func(error) { close(gone) }); err != full {
		t.Errorf("when the command is gone: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.Wait(ctx, sinks.Command{}, nil, func(error) { cancel() }); err != full {
		t.Errorf("when the reader stops: %v", err)
	}
}

// A shard holds no more than its share, all together no more than theirs, and what is released may
// be held again.
func TestQuota(t *testing.T) {
	q := Quota{PerShard: 2, All: 5}
	holds := func(shard int, want bool) {
		t.Helper()
		if got := q.Hold(shard); got != want {
			t.Fatalf("shard %d: %v, want %v; it holds %d", shard, got, want, q.Held(shard))
		}
	}
	for _, shard := range []int{1, 2} {
		holds(shard, true)
		holds(shard, true)
		holds(shard, false)
	}
	holds(3, true)
	holds(4, false) // five are held
	if full := q.Full(); len(full) != 2 || !slices.Contains(full, 1) || !slices.Contains(full, 2) {
		t.Errorf("shards %v are full", full)
	}
	q.Release(1)
	if q.Held(1) != 1 || q.Held(3) != 1 || q.Held(4) != 0 {
		t.Errorf("they hold %d, %d and %d", q.Held(1), q.Held(3), q.Held(4))
	}
	holds(4, true)
	holds(1, false)
	q = Quota{PerShard: 1}
	for shard := range 100 {
		holds(shard, true)
	}
	for shard := range 100 {
		q.Release(shard)
	}
	if len(q.held) > 0 || q.all != 0 {
		t.Errorf("after all is released: %d shards, %d commands", len(q.held), q.all)
	}
}

// What is written for others is what they read.
func TestAnswers(t *testing.T) {
	if got := string(AppendReply(nil, nil)); got != "\x81\xa2ok\xc3" {
		t.Errorf("the reply is %q", got)
	}
	if got := string(AppendReply([]byte("-"), errors.New("no"))); got != "-\x82\xa2ok\xc2\xa5error\xa2no" {
		t.Errorf("the reply is %q", got)
	}
	for _, n := range []int{0, 20, 200, 70_000} {
		packet := `{"op":3,"d":"` + strings.Repeat("x", n) + `"}`
		if c, err := Parse("7", msgpack.AppendRaw(nil, []byte(packet))); err != nil || string(c.Packet) != packet || c.Shard != 7 {
			t.Errorf("%d bytes come back as %.40s for shard %d, %v", n, c.Packet, c.Shard, err)
		}
	}
}
