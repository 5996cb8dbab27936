//go:build unix

// This file runs the tests that every sink must pass, with a real server.

package redis

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// What every sink must do, against a real server.
func TestSinkContract(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, func(t *testing.T) sinktest.Broker {
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}, DisableCache: true, ForceSingleClient: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		last := "-"
		return sinktest.Broker{
			Sink: func(t *testing.T) sinks.Opener {
				o, err := NewClientOption([]string{server.Addr}, nil)
				if err != nil {
					t.Fatal(err)
				}
				s, err := New(Options{Client: o, Bot: strconv.FormatUint(rand.Uint64(), 16), Body: broker.Format{Encoding: broker.JSON}.Append, Log: slog.New(slog.DiscardHandler),
					Stream: func(dst []byte, ev *sinks.Event) []byte { return append(dst, ev.Type...) }})
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Read: func(t *testing.T) (all [][]byte) {
				entries, err := client.Do(context.Background(), client.B().Xrange().Key("MESSAGE_CREATE").Start(last).End("+").Build()).AsXRange()
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					all = append(all, []byte(e.FieldValues["data"]))
					last = "(" + e.ID
				}
				return all
			},
			Cut:  func() { server.CLI("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") },
			Away: server.Kill,
			Back: server.Restart,
			Refused: func(t *testing.T) *sinks.Event {
				if out := server.CLI("SET", "PRESENCE_UPDATE", "no stream"); !strings.HasPrefix(out, "OK") {
					t.Fatal(fmt.Errorf("SET: %s", out))
				}
				return &sinks.Event{Type: []byte("PRESENCE_UPDATE"), Data: []byte("{}"), Session: "s", Seq: 1}
			},
		}
	})
}
