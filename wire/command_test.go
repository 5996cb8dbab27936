// This file tests the check of what bots send.

package wire

import (
	"reflect"
	"strings"
	"testing"
)

// Those with wrong are refused with an error that contains it.
var commandTests = []struct {
	packet string
	want   Command
	wrong  string
}{
	{`{"op":3,"d":{"since":null,"activities":[{"name":"x","type":0}],"status":"online","afk":false}}`, Command{Op: 3}, ""},
	{`{"op":4,"d":{"guild_id":"41771983423143937","channel_id":null,"self_mute":false,"self_deaf":false}}`, Command{Op: 4, Guild: 41771983423143937, Leave: true}, ""},
	{`{"op":8,"d":{"guild_id":"41771983423143937","query":"","limit":0}}`, Command{Op: 8, Guild: 41771983423143937, AllMembers: true}, ""},
	{`{"op":8,"d":{"guild_id":"41771983423143937","query":"a","limit":0}}`, Command{Op: 8, Guild: 41771983423143937}, ""},
	{`{"op":8,"d":{"guild_id":"41771983423143937","query":"","limit":1}}`, Command{Op: 8, Guild: 41771983423143937}, ""},
	{`{"op":8,"d":{"guild_id":"41771983423143937","user_ids":"1"}}`, Command{Op: 8, Guild: 41771983423143937}, ""},
	{`{"op":8,"d":{"guild_id":"41771983423143937","user_ids":["1","2"],"nonce":"12345678901234567890123456789012"}}`, Command{Op: 8, Guild: 41771983423143937}, ""},
	{`{"op":4,"d":{"guild_id":"7","channel_id":"8","self_mute":true,"self_deaf":false}}`, Command{Op: 4, Guild: 7}, ""},
	{`{"op":8,"d":{"guild_id":"7","query":"日","limit":5,"presences":true,"nonce":"n"}}`, Command{Op: 8, Guild: 7}, ""},
	{`{"op":8,"d":{"guild_id":"7","user_ids":["1"` + strings.Repeat(`,"1"`, 99) + `]}}`, Command{Op: 8, Guild: 7}, ""},
	{`{"op":8,"d":{"guild_id":"7","user_ids":[]}}`, Command{Op: 8, Guild: 7}, ""},
	{`{"op":31,"d":{"guild_ids":[]}}`, Command{Op: 31}, ""},
	{`{"op":31,"d":{"guild_ids":["1","2"]}}`, Command{Op: 31, Guilds: []uint64{1, 2}}, ""},
	{`{"op":43,"d":{"guild_id":"7","fields":["status","voice_start_time"]}}`, Command{Op: 43, Guild: 7}, ""},
	{" {\n\"d\" : {\"guild_id\":\"\\u0037\",\"fields\":[]}, \"x\":1, \"op\" : 43 } ", Command{Op: 43, Guild: 7}, ""},

	{``, Command{}, "not JSON"},
	{`{"op":3`, Command{}, "not JSON"},
	{`{"op":3,"d":{}} x`, Command{}, "not JSON"},
	{`{"op":nan,"d":{}}`, Command{}, "not JSON"},
	{`[3]`, Command{}, "array"},
	{`null`, Command{}, "null"},
	{`{"d":{}}`, Command{}, "op is missing"},
	{`{"op":"3","d":{}}`, Command{}, "op is missing or not an integer"},
	{`{"op":3.5,"d":{}}`, Command{}, "op is missing or not an integer"},
	{`{"op":3}`, Command{}, "d is missing"},
	{`{"op":3,"d":null}`, Command{}, "d is missing"},
	{`{"op":2,"d":{}}`, Command{}, "not for bots"},
	{`{"op":6,"d":{}}`, Command{}, "not for bots"},
	{`{"op":-1,"d":{}}`, Command{}, "not for bots"},
	{`{"op":3,"op":2,"d":{}}`, Command{}, `"op" stands twice`},
	{`{"op":3,"\u006fp":2,"d":{}}`, Command{}, `"op" stands twice`},
	{`{"op":43,"d":{"guild_id":"7","guild_id":"8","fields":[]}}`, Command{}, `"guild_id" stands twice`},
	{`{"op":3,"d":{"activities":[],"status":"online","afk":false}}`, Command{}, `lacks "since"`},
	{`{"op":3,"d":{"since":null,"status":"online","afk":false}}`, Command{}, `lacks "activities"`},
	{`{"op":3,"d":{"since":null,"activities":[],"afk":false}}`, Command{}, `lacks "status"`},
	{`{"op":3,"d":{"since":null,"activities":[],"status":"online"}}`, Command{}, `lacks "afk"`},
	{`{"op":4,"d":{"guild_id":"7"}}`, Command{}, `lacks "channel_id"`},
	{`{"op":4,"d":{"guild_id":7,"channel_id":null}}`, Command{}, "guild_id"},
	{`{"op":4,"d":{"guild_id":"0","channel_id":null}}`, Command{}, "guild_id"},
	{`{"op":4,"d":{"guild_id":"18446744073709551616","channel_id":null}}`, Command{}, "guild_id"},
	{`{"op":8,"d":{"guild_id":"7"}}`, Command{}, "neither query"},
	{`{"op":8,"d":{"guild_id":"7","query":""}}`, Command{}, "no limit"},
	{`{"op":8,"d":{"guild_id":"7","query":"","limit":-1}}`, Command{}, "limit must be"},
	{`{"op":8,"d":{"guild_id":"7","query":"","limit":"0"}}`, Command{}, "limit must be"},
	{`{"op":8,"d":{"guild_id":"7","user_ids":7}}`, Command{}, "user_ids must be"},
	{`{"op":8,"d":{"guild_id":"7","user_ids":[7]}}`, Command{}, "list of strings"},
	{`{"op":8,"d":{"guild_id":"7","user_ids":["1"],"nonce":"123456789012345678901234567890123"}}`, Command{}, "nonce has 33 bytes"},
	{`{"op":8,"d":{"guild_id":"7","user_ids":[` + strings.Repeat(`"1",`, 100) + `"1"]}}`, Command{}, "101 ids"},
	{`{"op":31,"d":{}}`, Command{}, `lacks "guild_ids"`},
	{`{"op":31,"d":{"guild_ids":"1"}}`, Command{}, `lacks "guild_ids"`},
	{`{"op":31,"d":{"guild_ids":["1",2]}}`, Command{}, "holds a number"},
	{`{"op":3,"d":{"since":"0","activities":[],"status":"online","afk":false}}`, Command{}, "since is a string"},
	{`{"op":3,"d":{"since":0,"activities":"x","status":"online","afk":false}}`, Command{}, "activities is a string"},
	{`{"op":3,"d":{"since":0,"activities":[{"name":1,"type":0}],"status":"online","afk":false}}`, Command{}, "activities must be"},
	{`{"op":3,"d":{"since":0,"activities":[{"name":"x"}],"status":"online","afk":false}}`, Command{}, "activities must be"},
	{`{"op":3,"d":{"since":0,"activities":["x"],"status":"online","afk":false}}`, Command{}, "activities must be"},
	{`{"op":3,"d":{"since":0,"activities":[],"status":null,"afk":false}}`, Command{}, "status"},
	{`{"op":3,"d":{"since":0,"activities":[],"status":"away","afk":false}}`, Command{}, `status "away"`},
	{`{"op":3,"d":{"since":0,"activities":[],"status":"online","afk":0}}`, Command{}, "afk is a number; it must be true or false"},
	{`{"op":4,"d":{"guild_id":"7","channel_id":"general"}}`, Command{}, "channel_id is neither"},
	{`{"op":4,"d":{"guild_id":"7","channel_id":7}}`, Command{}, "channel_id is neither"},
	{`{"op":4,"d":{"guild_id":"7","channel_id":null,"self_mute":"yes"}}`, Command{}, "self_mute is a string"},
	{`{"op":4,"d":{"guild_id":"7","channel_id":null,"self_deaf":null}}`, Command{}, "self_deaf is a null"},
	{`{"op":8,"d":{"guild_id":"7","query":"","limit":0,"presences":"x"}}`, Command{}, "presences is a string"},
	{`{"op":8,"d":{"guild_id":"7","query":"","limit":0,"nonce":1}}`, Command{}, "nonce is a number"},
	{`{"op":8,"d":{"guild_id":"7","user_ids":["abc"]}}`, Command{}, "user_ids: "},
	{`{"op":8,"d":{"guild_id":"7","user_ids":"abc"}}`, Command{}, "not a snowflake"},
	{`{"op":31,"d":{"guild_ids":["abc"]}}`, Command{}, "guild_ids: "},
	{`{"op":43,"d":{"guild_id":"7"}}`, Command{}, `lacks "fields"`},
	{`{"op":3,"d":{"since":null,"activities":[{"name":"\ud83d","type":0}],"status":"online","afk":false}}`, Command{}, "half of a surrogate pair"},
	{`{"op":3,"d":{"since":1e999,"activities":[],"status":"online","afk":false}}`, Command{}, "beyond a double"},
	{`{"op":3,"d":{"since":18446744073709551616,"activities":[],"status":"online","afk":false}}`, Command{}, "beyond 64 bits"},
	{`{"op":3,"d":{"since":0,"activities":[{"name":"a","name":"b","type":0}],"status":"online","afk":false}}`, Command{}, `"name" stands twice`},
	{`{"op":8,"d":{"guild_id":"7","query":"\u0000","limit":0}}`, Command{}, "NUL"},
	{`{"op":43,"d":{"guild_id":"7","fields":[]},"\udc00":1}`, Command{}, "half of a surrogate pair"},
	{"{\"op\":8,\"d\":{\"guild_id\":\"7\",\"query\":\"\xff\",\"limit\":1}}", Command{}, "UTF-8"},
	{`{"op":43,"d":{"guild_id":"7","fields":[]},"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, Command{}, "nested more than 100"},
	{`{"op":43,"d":{"guild_id":"7","fields":[]}}` + strings.Repeat(" ", 4096), Command{}, "4138 bytes"},
}

func TestParseCommand(t *testing.T) {
	for _, c := range commandTests {
		got, err := ParseCommand([]byte(c.packet))
		switch {
		case c.wrong == "" && (err != nil || !reflect.DeepEqual(got, c.want)):
			t.Errorf("%s: %+v, %v; want %+v", c.packet, got, err, c.want)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%.200s: error %v, want one with %q", c.packet, err, c.wrong)
		}
	}
	packet := `{"op":43,"d":{"guild_id":"7","fields":[]}}`
	packet += strings.Repeat(" ", MaxSend-len(packet))
	if _, err := ParseCommand([]byte(packet)); err != nil {
		t.Errorf("%d bytes: %v", len(packet), err)
	}
}

func TestShardOf(t *testing.T) {
	for _, c := range []struct {
		id     string
		shards int
		want   int
	}{
		{"41771983423143937", 1, 0},
		{"4194303", 16, 0},
		{"4194304", 16, 1},
		{"41771983423143937", 10, int((41771983423143937 >> 22) % 10)},
		{"18446744073709551615", 7, int((18446744073709551615 >> 22) % 7)},
	} {
		guild, err := ParseSnowflake(c.id)
		if err != nil {
			t.Fatal(err)
		}
		if got := ShardOf(guild, c.shards); got != c.want {
			t.Errorf("ShardOf(%s, %d) = %d, want %d", c.id, c.shards, got, c.want)
		}
	}
	for _, id := range []string{"", "0", "-1", "+1", "1 ", "0x1", "1_0", "18446744073709551616", "１"} {
		if n, err := ParseSnowflake(id); err == nil {
			t.Errorf("ParseSnowflake(%q) = %d", id, n)
		}
	}
}
