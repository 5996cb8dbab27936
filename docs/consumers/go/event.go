// Package consumers is what the consumers in its folders do with the value of an event.
package consumers

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/vmihailenco/msgpack/v5"
)

// Decode returns an event's data, in whichever of the encodings msgpack-string, msgpack
// and json the gateway wrote it (broker.encoding).
func Decode(value []byte) (data any, err error) {
	if len(value) > 0 && value[0] == '{' {
		err = json.Unmarshal(value, &data)
		return data, err
	}
	if err := msgpack.Unmarshal(value, &data); err != nil {
		return nil, err
	}
	if text, ok := data.(string); ok {
		data = nil
		err = json.Unmarshal([]byte(text), &data)
		return data, err
	}
	return data, nil
}

// Seen knows the last event of each session in each stream or queue, which come in order:
// shard, session and seq, as text, that redis.fields or amqp.headers add. The gateway sends
// an event again when it could not learn whether the broker had taken it.
type Seen map[string]int64

// Has reports whether the event was seen before; one without seq never was.
func (s Seen) Has(queue, shard, session, seq string) bool {
	n, err := strconv.ParseInt(seq, 10, 64)
	if err != nil {
		return false
	}
	key := queue + " " + shard + " " + session
	if n <= s[key] {
		return true
	}
	s[key] = n
	return false
}

// Print prints an event as a line of JSON.
func Print(event string, value []byte) error {
	data, err := Decode(value)
	if err != nil {
		return fmt.Errorf("%s: %w", event, err)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"event": event, "data": data})
}
