// This file runs bwmarrin/discordgo against the simulated Discord.

package e2e

import (
	"testing"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"

	"sluice/bench/sim"
)

func TestForeignDiscordgo(t *testing.T) {
	t.Parallel() // but not its parts: discordgo has its addresses in package variables
	for _, compression := range []string{"zlib-payload", "none"} {
		t.Run(compression, func(t *testing.T) { testDiscordgo(t, compression) })
	}
}

// testDiscordgo runs one session of discordgo for each shard: of compressions
// it has only that of single messages, and it resumes at the main gateway.
func testDiscordgo(t *testing.T, compression string) {
	srv, config := foreignServer(t, true)
	for variable, value := range map[*string]string{
		&discordgo.EndpointGateway:    srv.APIURL() + "/gateway",
		&discordgo.EndpointGatewayBot: srv.APIURL() + "/gateway/bot",
	} {
		before := *variable
		*variable = value
		defer func() { *variable = before }()
	}
	var log foreignLog
	for shard := range foreignShards {
		s, err := discordgo.New("Bot " + foreignToken)
		if err != nil {
			t.Fatal(err)
		}
		s.Client = foreignHTTP(config)
		s.Dialer = &websocket.Dialer{TLSClientConfig: config}
		s.ShardID = shard
		s.Compress = compression == "zlib-payload"
		s.Identify.Intents = discordgo.IntentsAll
		s.SyncEvents = true // handlers run in order
		s.AddHandler(func(_ *discordgo.Session, e *discordgo.Event) {
			log.add(shard, sim.Event{Seq: e.Sequence, Type: e.Type, Hash: sim.Hash(e.RawData)})
		})
		bot, err := s.GatewayBot()
		if err != nil {
			t.Fatal(err)
		}
		if bot.Shards != foreignShards || bot.SessionStartLimit.MaxConcurrency != foreignShards {
			t.Errorf("gateway/bot: %+v", bot)
		}
		s.ShardCount = bot.Shards
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	foreignSurvives(t, srv, &log, sim.RoleGateway, "op 9 true") // it does not look at d
	foreignCompression(t, srv, compression)
}
