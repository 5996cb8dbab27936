// This file tests what is counted of commands.

package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

// Every refusal has a reason of the set: by what the error is, or by what the command is.
func TestReason(t *testing.T) {
	refusal := errors.New("no")
	const presence = `{"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false}}`
	voice := func(shard int) string {
		return fmt.Sprintf(`{"op":4,"d":{"guild_id":"%d","channel_id":null,"self_mute":false,"self_deaf":false}}`, (shard+16)<<22)
	}
	members := fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","query":"","limit":0}}`, (3+16)<<22)
	for _, tt := range []struct {
		err    error
		packet string
		shard  int
		total  int
		want   string
	}{
		{fmt.Errorf("shard 3: %w", sinks.ErrQueueFull), presence, 3, 16, "queue full"},
		{fmt.Errorf("no: %w", sinks.ErrStopped), presence, 3, 16, "stopped"},
		{context.Canceled, presence, 3, 16, "stopped"},
		{fmt.Errorf("no: %w", &sinks.NotLocalError{Shard: 3}), presence, 3, 16, "not local"},
		{TooLong(7, 6), "", 0, 16, "too large"},
		{refusal, strings.Repeat("x", 4097), 3, 16, "too large"},
		{refusal, "", 0, 16, "malformed"},
		{refusal, "nonsense", 3, 16, "malformed"},
		{refusal, `{"op":"3","d":{}}`, 3, 16, "malformed"},
		{refusal, `{"d":{}}`, 3, 16, "malformed"},
		{refusal, `{"op":3,"d":{}}`, 3, 16, "malformed"},
		{refusal, `{"op":2,"d":{}}`, 3, 16, "unknown op"},
		{refusal, `{"op":-1,"d":{}}`, 3, 16, "unknown op"},
		{refusal, presence, 16, 16, "wrong shard"},
		{refusal, voice(4), 3, 16, "wrong shard"},
		{refusal, voice(3), 3, 16, "other"},
		{refusal, voice(3), 3, 0, "wrong shard"},
		{refusal, members, 3, 16, "missing intent"},
		{refusal, members, 4, 16, "wrong shard"},
		{refusal, members, 4, 0, "missing intent"},
		{refusal, presence, 3, 16, "other"},
	} {
		if got := Reason(tt.err, sinks.Command{Shard: tt.shard, Packet: []byte(tt.packet)}, tt.total); got != tt.want || !slices.Contains(RefusalReasons, got) {
			t.Errorf("%v, %.40s for shard %d of %d: %s, want %s", tt.err, tt.packet, tt.shard, tt.total, got, tt.want)
		}
	}
	if got := Reason(refusal, sinks.Command{Guild: 4 << 22, Packet: []byte(voice(3))}, 16); got != "wrong shard" {
		t.Errorf("routed by a guild of another shard: %s", got)
	}
}

// Names that nobody reads are not there, shards are one source, and time is counted to a bucket.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCounts()
		if got := c.Status(); len(got) != 0 {
			t.Errorf("before it is read: %+v", got)
		}
		c.Reads(Send, Shard)
		for _, name := range []string{"0", "17", "SEND", "0", "0"} {
			c.Received(name)
			c.Given(name)
		}
		came := time.Now()
		c.Sent("0", came.Add(time.Hour)) // a clock that is ahead
		time.Sleep(2 * time.Second)
		c.Sent("17", came)
		c.Refused("0", Expired)
		c.Forwarded("0")
		got := c.Status()
		if len(got) != 2 || got[0].Source != "SEND" || got[1].Source != "shard" || got[0].Waiting != 1 || got[0].Received != 1 {
			t.Fatalf("%+v", got)
		}
		st := got[1]
		if st.Received != 4 || st.Given != 4 || st.Sent != 2 || st.Refused["expired"] != 1 || st.Forwarded != 1 || st.Waiting != 0 || len(st.Refused) != len(RefusalReasons) {
			t.Errorf("%+v", st)
		}
		if st.Waited.Sum != 2 || st.Waited.Counts[0] != 1 || st.Waited.Counts[slices.Index(st.Waited.Bounds, 5)] != 1 {
			t.Errorf("waited: %+v", st.Waited)
		}
		if n := testing.AllocsPerRun(100, func() { c.Received("0"); c.Given("0"); c.Sent("0", came); c.Refused("0", Expired) }); n > 0 {
			t.Errorf("%v allocations for a command", n)
		}
		var none *Counts
		none.Reads(Send)
		none.Received("0")
		none.Sent("0", came)
		none.Refused("0", Stopped)
	})
}
