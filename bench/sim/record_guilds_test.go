// This file tests recordings of guild streams.

package sim

import (
	"fmt"
	"testing"
)

// TestRecordGuilds: every guild arrives whole, and is as large as was asked for.
func TestRecordGuilds(t *testing.T) {
	const guilds, size = 5, 300 << 10 // more than a block and a window
	for _, compress := range compressions {
		rec, err := RecordGuilds(guilds, size, compress)
		if err != nil {
			t.Fatal(err)
		}
		if plain, wired := rec.Bytes(); rec.Len() != guilds || plain < guilds*size || compress != "" && wired*4 > plain {
			t.Errorf("%q: %d guilds, %d bytes became %d", compress, rec.Len(), plain, wired)
		}
		for _, other := range compressions {
			t.Run(fmt.Sprintf("%q to %q", compress, other), func(t *testing.T) {
				bubble(t, quick(Options{Rate: -1, Guilds: -1, Recording: rec}), func(t *testing.T, d dialer, srv *Server) {
					c, r := d.start(t, query(other), 0, 1, allIntents)
					got := []Received{{Session: r.ID, Seq: 1}}
					for range guilds {
						got = append(got, received(0, r.ID, c.want(0, "GUILD_CREATE")))
					}
					if rep := srv.Ledger().Check(got); rep.Received != guilds+1 || rep.Lost+rep.Repeated+rep.OutOfOrder+rep.Unknown+rep.Pending != 0 {
						t.Error(rep)
					}
				})
			})
		}
	}
}
