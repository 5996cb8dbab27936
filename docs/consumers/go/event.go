// Package consumers is what the consumers in its folders have in common: the value of an event, what is
// known of it, and which events have been processed.
package consumers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Event is an event as it comes from a broker.
type Event struct {
	Name    string
	Value   []byte
	Shard   int
	Session string // empty without redis.fields or amqp.headers: repeats of it are not known
	Seq     int64

	// Of RabbitMQ: see Epochs.
	Queue       string
	Epoch       int64
	Redelivered bool
}

// Named returns the event with its name: shard, session and seq as text.
func Named(name string, value []byte, shard, session, seq string) Event {
	e := Event{Name: name, Value: value, Session: session}
	e.Shard, _ = strconv.Atoi(shard)
	e.Seq, _ = strconv.ParseInt(seq, 10, 64)
	return e
}

// Work is what the bot does for an event that it has not processed: here it prints the event as a line
// of JSON. That is no part of a transaction, so it is done again when the consumer ends
// before its store has what comes of the event. What cannot be read is skipped.
func (e *Event) Work() {
	data, err := Decode(e.Value)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s %d of session %s is skipped: %v\n", e.Name, e.Seq, e.Session, err)
		return
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"event": e.Name, "data": data})
}

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

// Setting returns a variable of the environment.
func Setting(name, fallback string) string { return cmp.Or(os.Getenv(name), fallback) }

// Names returns the arguments, the names of the events to read. Without any the program ends.
func Names() []string {
	if len(os.Args) < 2 {
		log.Fatalf("name the events to read, as in: %s MESSAGE_CREATE", os.Args[0])
	}
	return os.Args[1:]
}

// Seconds returns a variable of the environment that holds a number of seconds.
func Seconds(name, fallback string) (time.Duration, error) {
	s, err := strconv.ParseFloat(Setting(name, fallback), 64)
	if err != nil || !(s >= 0 && s < 1e9) {
		return 0, fmt.Errorf("%s is %q: it is a number of seconds, such as %s", name, Setting(name, fallback), fallback)
	}
	return time.Duration(s * float64(time.Second)), nil
}

// Host is the host's name.
func Host() string {
	name, _ := os.Hostname()
	return cmp.Or(name, "bot")
}
