// This file has the tests of checkpoints.

package fleettest

import (
	"slices"

	"sluice/fleet"
)

// save saves records, which are taken but for those expected to be refused.
func (k *kit) save(what, incarnation string, records []fleet.Record, refused ...int) {
	k.Helper()
	got, err := k.Save(k.ctx, incarnation, records)
	k.ok(err)
	k.same("refused of "+what, sorted(got), refused)
}

// loaded holds the data of shards to the expected ones; empty: there is none.
func (k *kit) loaded(what string, want ...string) {
	k.Helper()
	var shards []int
	got := make([]string, len(want))
	for s := range want {
		shards = append(shards, s)
	}
	records, err := k.Load(k.ctx, shards)
	k.ok(err)
	for _, r := range records {
		got[r.Shard] = string(r.Data)
	}
	k.same("the records after "+what, got, want)
}

func sorted(ids []int) []int {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return ids
}

var recordTests = []test{
	{"Save", func(k *kit) {
		k.join("a", "b")
		k.loaded("nothing", "", "")
		e := []int64{k.acquire("a", 0).Epoch, k.acquire("a", 1).Epoch}
		data := []byte("one")
		k.save("the first", "a", []fleet.Record{{Shard: 0, Epoch: e[0], Number: 1, Data: data}, {Shard: 1, Epoch: e[1], Number: 1, Data: []byte("two\x00\xff")}})
		copy(data, "xxx") // it is the caller's again
		k.loaded("the first", "one", "two\x00\xff")
		records, err := k.Load(k.ctx, []int{0})
		k.ok(err)
		k.same("the record", records, []fleet.Record{{Shard: 0, Epoch: e[0], Number: 1, Data: []byte("one")}})
		copy(records[0].Data, "xxx") // as is what was loaded
		k.loaded("that", "one")
		for range 2 { // the second after a lost answer
			k.save("the second", "a", []fleet.Record{{Shard: 0, Epoch: e[0], Number: 2, Data: []byte("three")}})
			k.loaded("the second", "three", "two\x00\xff")
		}
		k.save("none", "a", []fleet.Record{{Shard: 1, Epoch: e[1], Number: 3}})
		k.loaded("none", "three", "")
		k.save("no records", "a", nil)
		records, err = k.Load(k.ctx, nil)
		k.ok(err)
		k.same("records of no shards", len(records), 0)
	}},
	{"SaveLate", func(k *kit) {
		k.join("a", "b")
		e := []int64{k.acquire("a", 0).Epoch, k.acquire("a", 1).Epoch}
		k.save("the newer", "a", []fleet.Record{{Shard: 0, Epoch: e[0], Number: 5, Data: []byte("newer")}, {Shard: 1, Epoch: e[1], Number: 5}})
		k.save("the late", "a", []fleet.Record{{Shard: 0, Epoch: e[0], Number: 4, Data: []byte("late")}, {Shard: 1, Epoch: e[1], Number: 4, Data: []byte("late")}})
		k.loaded("the late", "newer", "")
		k.save("another's numbers", "a", []fleet.Record{{Shard: 0, Epoch: e[0], Number: 6, Data: []byte("newest")}})
		k.loaded("the newest", "newest", "")
		k.depose("a")
		e[0] = k.acquire("b", 0).Epoch
		k.save("the successor's first", "b", []fleet.Record{{Shard: 0, Epoch: e[0], Number: 1, Data: []byte("successor")}})
		k.loaded("the successor's first", "successor", "")
	}},
	{"SaveRefused", func(k *kit) {
		k.join("a", "b")
		var e [5]int64
		for s := range 3 {
			e[s] = k.acquire("a", s).Epoch
		}
		e[3] = k.acquire("b", 3).Epoch
		all := func(data string, number int64) (records []fleet.Record) {
			for s := range e {
				records = append(records, fleet.Record{Shard: s, Epoch: e[s], Number: number, Data: []byte(data)})
			}
			return records
		}
		k.save("another's, and nobody's", "a", all("a1", 1), 3, 4)
		k.loaded("that", "a1", "a1", "a1", "", "")
		mine := e
		e[0], e[1] = e[0]-1, e[1]+1
		k.save("another epoch", "a", all("a2", 2), 0, 1, 3, 4)
		k.loaded("that", "a1", "a1", "a2", "", "")
		e = mine
		given := k.give(2, fleet.Owner{Incarnation: "a", Epoch: e[2]}, "b")
		k.save("what was given", "a", all("a3", 3), 2, 3, 4)
		k.loaded("that", "a3", "a3", "a2", "", "")
		_, err := k.TakeBack(k.ctx, 2, given, "a")
		k.ok(err)
		k.save("what was given and taken back, under the former epoch", "a", all("a4", 4), 2, 3, 4)
		k.depose("a")
		e[0] = k.acquire("b", 0).Epoch
		k.loaded("a takeover", "a4", "a4", "a2", "", "") // the record is the shard's, not its owner's
		e = mine
		k.save("what was taken over", "a", []fleet.Record{{Shard: 0, Epoch: e[0], Number: 9, Data: []byte("x")}}, 0)
		k.save("what was taken over, without data", "a", []fleet.Record{{Shard: 0, Epoch: e[0], Number: 9}}, 0)
		k.ok(k.Leave(k.ctx, "b"))
		k.save("what is free", "b", []fleet.Record{{Shard: 3, Epoch: e[3], Number: 9, Data: []byte("x")}}, 3)
		k.save("what is free, by nobody", "", []fleet.Record{{Shard: 3, Epoch: e[3], Number: 9, Data: []byte("x")}}, 3)
		k.loaded("what was refused", "a4", "a4", "a2", "", "")
	}},
}
