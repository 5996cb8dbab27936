//go:build long

package e2e

import "time"

const (
	eventsOfBroker   = 12_500
	restartsOfBroker = 4
	killsOfGateway   = 6
	eventsOfForeign  = 12_500
	burstOfEvents    = 100_000
	beatsOfStall     = 8
	commandsOfShard  = 100
	badCommands      = 20_000
	attackFor        = time.Second
	scrapedShards    = 1000
)

const everyReader = true
