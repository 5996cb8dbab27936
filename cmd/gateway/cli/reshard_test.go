package cli

import (
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/status"
)

// Settings with which a bot cannot be resharded are named.
func TestReshardRefused(t *testing.T) {
	for want, set := range map[string]func(*config.Config){
		"shards.ids is set":                    func(c *config.Config) { c.Shards.IDs = []int{0} },
		"shard_store.compat:":                  func(c *config.Config) { c.ShardStore.Compat = true },
		"the shards have not been started yet": func(c *config.Config) { c.Shards.Auto, c.Shards.IDs = true, []int{} },
	} {
		cfg := new(config.Config)
		set(cfg)
		if _, err := (&reloader{cfg: cfg}).Reshard(t.Context(), 32, true); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// What is printed says how far it is.
func TestReshardLine(t *testing.T) {
	fleet := &status.FleetReshard{Classes: 4, Gathered: 3, Members: 2, Agreed: 1}
	for want, r := range map[string]status.Reshard{
		"connecting: 3 of 8 ready":              {Stage: "connecting", To: 8, Ready: 3},
		"comparing; nothing is said of it by a": {Stage: "comparing", To: 8, Error: "nothing is said of it by a"},
		"comparing":                             {Stage: "comparing", To: 8, Ready: 8},
		"comparing; the last switch was taken back: Redis is away":      {Stage: "comparing", To: 8, Ready: 8, Failures: 1, Error: "Redis is away"},
		"gathering: 3 of 4 classes of shards are at one member":         {Stage: "gathering", To: 8, Fleet: fleet},
		"comparing: 1 of 2 members agree":                               {Stage: "comparing", To: 8, Fleet: fleet},
		"switching: 0 of 2 members prepared":                            {Stage: "switching", To: 8, Fleet: fleet},
		"connecting: 0 of 8 ready; the last switch was taken back: why": {Stage: "connecting", To: 8, Fleet: fleet, Failures: 1, Error: "why"},
	} {
		if got := reshardLine(&r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
