// This file runs disgoorg/disgo against the simulated Discord. Not under the
// race detector, which finds races in disgo: between its heartbeat and what ends
// it, after op 7 and in Close.

//go:build !race

package e2e

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/disgoorg/disgo"
	"github.com/disgoorg/disgo/bot"
	"github.com/disgoorg/disgo/events"
	"github.com/disgoorg/disgo/gateway"
	"github.com/disgoorg/disgo/rest"
	"github.com/disgoorg/disgo/sharding"
	"github.com/gorilla/websocket"

	"sluice/bench/sim"
)

func TestForeignDisgo(t *testing.T) {
	t.Parallel()
	for _, compression := range []gateway.CompressionType{
		gateway.CompressionZstdStream, gateway.CompressionZlibStream, gateway.CompressionZlibPayload, gateway.CompressionNone,
	} {
		t.Run(cmp.Or(string(compression), "none"), func(t *testing.T) {
			t.Parallel()
			testDisgo(t, compression)
		})
	}
}

// testDisgo runs disgo with its own shard manager.
func testDisgo(t *testing.T, compression gateway.CompressionType) {
	srv, config := foreignServer(t, true)
	var log foreignLog
	client, err := disgo.New(foreignToken,
		bot.WithLogger(slog.New(slog.DiscardHandler)),
		bot.WithRestClientConfigOpts(rest.WithURL(srv.APIURL()), rest.WithHTTPClient(foreignHTTP(config))),
		bot.WithShardManagerConfigOpts(sharding.WithGatewayConfigOpts(
			gateway.WithIntents(gateway.IntentsAll),
			gateway.WithDialer(&websocket.Dialer{TLSClientConfig: config}),
			gateway.WithCompression(compression),
			gateway.WithEnableRawEvents(true),
		)),
		bot.WithEventListenerFunc(func(e *events.Raw) {
			d, err := io.ReadAll(e.Payload)
			if err != nil {
				t.Error(err)
			}
			log.add(e.ShardID(), sim.Event{Seq: int64(e.SequenceNumber()), Type: string(e.EventType), Hash: sim.Hash(d)})
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	if err := client.OpenShardManager(t.Context()); err != nil {
		t.Fatal(err)
	}
	foreignSurvives(t, srv, &log, sim.RoleResume)
	foreignCompression(t, srv, cmp.Or(string(compression), "none"))
}
