// This file tests that commands from standard input are counted.

package stdio

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"sluice/sinks"
	"sluice/sinks/commands"
)

// Each command counts as received, and as what becomes of it.
func TestCommandsAreCounted(t *testing.T) {
	command := func(shard int, packet string) string {
		return fmt.Sprintf(`{"shard":%d,"packet":%s}`+"\n", shard, packet)
	}
	const presence = `{"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false}}`
	input := command(0, presence) + command(1, presence) + command(2, presence) + command(3, presence) + command(4, presence) +
		command(5, `{"op":2,"d":{}}`) + command(5, `{"op":3,"d":{}}`) +
		"garbage\n" + "{\n" + `{"x":"` + strings.Repeat("x", commands.MaxSize) + "\"}\n" + "\x82\xc1\n"
	var later func()
	counts := commands.NewCounts()
	err := ReadCommands(strings.NewReader(input), func(c sinks.Command) error {
		switch c.Shard {
		case 0:
			c.Sent()
			return nil
		case 1:
			later = c.Sent
			return nil
		case 2:
			return sinks.ErrQueueFull
		case 3:
			return &sinks.NotLocalError{Shard: 3}
		case 4:
			return fmt.Errorf("no: %w", sinks.ErrStopped)
		}
		return fmt.Errorf("shard %d: no", c.Shard)
	}, counts, nil)
	if err != nil {
		t.Fatal(err)
	}
	st := counts.Status()[0]
	if st.Source != commands.Stdin || st.Received != 11 || st.Given != 2 || st.Sent != 1 || st.Waiting != 1 || st.Forwarded+st.Requeued != 0 {
		t.Errorf("%+v", st)
	}
	maps.DeleteFunc(st.Refused, func(_ string, n int64) bool { return n == 0 })
	if got, want := fmt.Sprint(st.Refused), "map[malformed:4 not local:1 queue full:1 stopped:1 too large:1 unknown op:1]"; got != want {
		t.Errorf("refused: %s, want %s", got, want)
	}
	later()
	if st := counts.Status()[0]; st.Sent != 2 || st.Waiting != 0 || st.Waited.Counts[0]+st.Waited.Counts[1] == 0 {
		t.Errorf("%+v", st)
	}
}
