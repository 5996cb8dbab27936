// This file tests what a member puts before its broker.

package cli

import (
	"log/slog"
	"testing"

	"sluice/cmd/gateway/config"
	"sluice/sinks/amqp"
	"sluice/sinks/redis"
	"sluice/sinks/stdio"
)

// In a fleet, what cannot refuse a former owner stands behind something that waits; and each event says whose it is.
func TestMemberOutput(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	m := newMembership(&config.Config{Shards: config.ShardsConfig{Auto: true}}, nil, log)
	s := stdio.NewSink(nil, stdio.JSON)
	if m.hold(s) == s {
		t.Error("standard output is not held")
	}
	a, err := amqp.New(amqp.Options{URLs: []string{"amqp://127.0.0.1:1"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if m.hold(a) == a {
		t.Error("RabbitMQ is not held")
	}
	if r := new(redis.Sink); m.hold(r) != r {
		t.Error("Redis is held, which refuses by itself")
	}
	out, err := stdioBroker().sink(&config.Config{}, m, log)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := out.(*stdio.Sink); ok && s.Owner != m.owner {
		t.Errorf("the owner is %q, want %q", s.Owner, m.owner)
	}
}
