// This file tests that nothing comes by itself once traffic is silenced.

package sim

import (
	"testing"
	"testing/synctest"
	"time"
)

// All that Discord sends by itself is in the ledger when Silence returns, guilds that are late or
// unavailable among it: who counts then counts everything.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, srv := memServer(t, Options{Rate: 50, Guilds: 40, GuildInterval: 100 * time.Millisecond, UnavailableEvery: 4, LargeEvery: -1})
		c, _ := d.start(t, plainQuery, 0, 1, allIntents)
		guilds, last := 0, int64(1)
		take := func(to int64) {
			for last < to {
				m := c.want(0, "")
				if last = m.S; m.T == "GUILD_CREATE" {
					guilds++
				}
			}
		}
		time.Sleep(time.Second) // some are there, and some of them unavailable
		srv.Silence()
		end := srv.Seq(0)
		take(end)
		time.Sleep(20 * time.Second)
		if seq := srv.Seq(0); seq != end || guilds != 40 {
			t.Errorf("%d guilds by event %d, and %d events after it", guilds, end, seq-end)
		}
		srv.Close()
	})
}
