package cli

import (
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
)

// Settings with which a bot cannot be resharded are named.
func TestReshardRefused(t *testing.T) {
	for want, set := range map[string]func(*config.Config){
		"shards.ids is auto, and a fleet cannot be resharded while it runs": func(c *config.Config) { c.Shards.Auto = true },
		"shards.ids is set":   func(c *config.Config) { c.Shards.IDs = []int{0} },
		"shard_store.compat:": func(c *config.Config) { c.ShardStore.Compat = true },
		"the shards have not been started yet": func(*config.Config) {
		},
	} {
		cfg := new(config.Config)
		set(cfg)
		if _, err := (&reloader{cfg: cfg}).Reshard(t.Context(), 32, true); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
