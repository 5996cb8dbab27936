// This file runs bwmarrin/discordgo: one session for each shard, its state
// tracking off, and a handler of raw events alone, in order. It has no
// compression of the stream, so that of single messages stands in for it.

// Command discordgo counts events with github.com/bwmarrin/discordgo.
package main

import (
	"io"
	"log"
	"net/http"
	"sync"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"

	"sluice/bench/peers/peer"
)

func main() {
	c := peer.Load()
	compression := "none"
	if c.Compression != "none" {
		compression = "zlib-payload"
	}
	peer.Hello("discordgo "+discordgo.VERSION, compression)
	log.SetOutput(io.Discard)
	discordgo.EndpointGateway = c.API + "/gateway"
	discordgo.EndpointGatewayBot = c.API + "/gateway/bot"
	events := &peer.Counter{Sample: c.Sample}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.TLS}}
	var opening sync.WaitGroup
	for shard := range c.Shards {
		s, err := discordgo.New("Bot " + c.Token)
		if err != nil {
			peer.Fail(err)
		}
		s.Client = client
		s.Dialer = &websocket.Dialer{TLSClientConfig: c.TLS}
		s.ShardID, s.ShardCount = shard, c.Shards
		s.Compress = compression != "none"
		s.Identify.Intents = discordgo.Intent(c.Intents)
		s.StateEnabled = false
		s.SyncEvents = true // without it a goroutine for each event
		s.AddHandler(func(_ *discordgo.Session, e *discordgo.Event) { events.Count(shard, e.Sequence, e.Type) })
		opening.Go(func() {
			if err := s.Open(); err != nil {
				peer.Fail(err)
			}
		})
	}
	opening.Wait()
	events.Wait()
}
