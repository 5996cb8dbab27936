package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/wire"
)

// TestCommon has sessions of two shard counts get the same events of a guild, in the same order.
func TestCommon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network Network
		srv, err := New(Options{
			Shards: 2, MaxConcurrency: 16, Guilds: 4, Common: true, CommonSkew: 50 * time.Millisecond, Rate: 100, UnavailableEvery: -1,
			Listen: network.Listen,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		var sessions []*session
		begin := func(count int) {
			for shard := range count {
				c := &conn{srv: srv, shard: shard}
				s := srv.newSession(newSessionID(), c, shard, count, wire.AllIntents, srv.guildsOf(shard, count))
				s.log = srv.ledger.newSession(SessionInfo{ID: s.id, Shard: shard, Count: count})
				s.mu.Lock()
				s.loaded = s.guilds
				s.mu.Unlock()
				srv.keepSession(s)
				sessions = append(sessions, s)
			}
		}
		begin(2)
		time.Sleep(time.Second)
		begin(3)
		time.Sleep(time.Second)
		srv.Silence()
		time.Sleep(time.Second)
		all := srv.Ledger().Common()
		if len(all) < 100 {
			t.Fatalf("%d events", len(all))
		}
		of := make(map[int][]uint64)
		for _, e := range all {
			of[e.Guild] = append(of[e.Guild], e.Hash)
		}
		guild := make(map[uint64]int)
		for _, e := range all {
			guild[e.Hash] = e.Guild
		}
		for _, s := range sessions {
			has := make(map[int][]uint64)
			for _, e := range srv.Ledger().Events(s.id) {
				if g, ok := guild[e.Hash]; ok {
					has[g] = append(has[g], e.Hash)
				}
			}
			for _, g := range s.guilds {
				want := of[g]
				if s.count == 3 { // it began later
					if len(has[g]) == 0 || len(has[g]) >= len(want) {
						t.Fatalf("a session of 3 has %d events of guild %d, of %d", len(has[g]), g, len(want))
					}
					want = want[len(want)-len(has[g]):]
				}
				if len(has[g]) != len(want) {
					t.Fatalf("shard %d of %d has %d events of guild %d, not %d", s.shard, s.count, len(has[g]), g, len(want))
				}
				for i := range want {
					if has[g][i] != want[i] {
						t.Fatalf("event %d of guild %d differs on shard %d of %d", i, g, s.shard, s.count)
					}
				}
			}
		}
	})
}
