//go:build !long

package e2e

import "time"

// How much is enough for every change. What make test-long does is in sizes_long_test.go.
const (
	eventsOfBroker   = 5_000 // for each of 8 shards
	restartsOfBroker = 2
	killsOfGateway   = 3
	eventsOfForeign  = 500 // for each of 8 shards
	burstOfEvents    = 20_000
	beatsOfStall     = 2 // of each shard
	commandsOfShard  = 20
	badCommands      = 3_000
	attackFor        = 500 * time.Millisecond // of a server
	scrapedShards    = 250
)

// everyReader says that each attack is made on each kind of reader, and not on one by turns, and the like.
const everyReader = false
