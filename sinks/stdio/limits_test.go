// This file tests the bound of lines that docs/formats.md states.

package stdio

import (
	"math"
	"strings"
	"testing"

	"sluice/sinks"
	"sluice/wire"
)

// A line is at most 2 KiB longer than the data, whatever is around it: the data is a part of a
// message, which max_message bounds.
func TestLongestLine(t *testing.T) {
	for _, c := range []byte(`s"\<&`) {
		ev := sinks.Event{
			Shard: 65_535, Seq: math.MaxInt64, Epoch: math.MaxInt64, Type: []byte(strings.Repeat("X", 64)),
			Session: `"` + strings.Repeat(string(c), wire.MaxSessionID-1), Data: []byte(`{"a":1}`),
		}
		if !wire.ValidSessionID(ev.Session) {
			t.Fatalf("%q is no session id", ev.Session)
		}
		if n := len(publish(t, JSON, ev)) - len(ev.Data); n > 2<<10 {
			t.Errorf("%c: %d bytes are around the data", c, n)
		}
	}
}
