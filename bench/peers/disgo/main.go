// This file runs disgoorg/disgo: its shard manager alone, without caches and
// the events made of the gateway's.

// Command disgo counts events with github.com/disgoorg/disgo.
package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/disgoorg/disgo"
	"github.com/disgoorg/disgo/gateway"
	"github.com/disgoorg/disgo/rest"
	"github.com/disgoorg/disgo/sharding"
	"github.com/gorilla/websocket"

	"sluice/bench/peers/peer"
)

func main() {
	c := peer.Load()
	compression := gateway.CompressionType(strings.TrimPrefix(c.Compression, "none"))
	peer.Hello("disgo "+strings.TrimPrefix(disgo.Version, "v"), c.Compression)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	api := rest.NewGateway(rest.NewClient(c.Token, rest.WithURL(c.API), rest.WithHTTPClient(&http.Client{Transport: &http.Transport{TLSClientConfig: c.TLS}})))
	bot, err := api.GetGatewayBot()
	if err != nil {
		peer.Fail(err)
	}
	events := &peer.Counter{Sample: c.Sample}
	ids := make([]int, c.Shards)
	for i := range ids {
		ids[i] = i
	}
	handle := func(g gateway.Gateway, name gateway.EventType, seq int, data gateway.EventData) {
		if raw, ok := data.(gateway.EventRaw); ok { // the one that each event has
			events.Count(g.ShardID(), int64(seq), string(raw.EventType))
		}
	}
	manager := sharding.New(c.Token, handle,
		sharding.WithLogger(log), sharding.WithShardCount(c.Shards), sharding.WithShardIDs(ids...),
		sharding.WithIdentifyRateLimiterConfigOpt(gateway.WithIdentifyMaxConcurrency(bot.SessionStartLimit.MaxConcurrency)),
		sharding.WithGatewayConfigOpts(
			gateway.WithLogger(log), gateway.WithURL(bot.URL), gateway.WithIntents(gateway.Intents(c.Intents)),
			gateway.WithDialer(&websocket.Dialer{TLSClientConfig: c.TLS}),
			gateway.WithCompression(compression), gateway.WithEnableRawEvents(true),
		))
	manager.Open(context.Background())
	events.Wait()
}
