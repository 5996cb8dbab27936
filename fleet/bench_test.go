package fleet

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkDecide has 50 members and 10,000 shards: at rest, one of them giving, and all shards free.
func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name    string
		members int // that own the shards
		state   State
	}{
		{"Rest", 50, Up},
		{"Balance", 49, Up},
		{"BalanceOne", 1, Up},
		{"Drain", 49, Draining},
		{"Free", 0, Up},
	} {
		table := Table{Now: time.Unix(1000, 0), Plan: Plan{Shards: 10000}}
		for i := range 50 {
			table.Members = append(table.Members, Member{Incarnation: fmt.Sprintf("0123456789%06d", i), Weight: 1, Beat: 100})
		}
		table.Members[0].State = c.state
		for i := range table.Plan.Shards {
			s := Shard{ID: i}
			if c.members > 0 {
				s.Owner = Owner{fmt.Sprintf("0123456789%06d", (i*7919)%c.members), 1}
			}
			table.Shards = append(table.Shards, s)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(table.Members[0].Incarnation, table, Rules{})
			}
		})
	}
}

func BenchmarkObserve(b *testing.B) {
	var o Observer
	var members []Member
	var shards []Shard
	for i := range 50 {
		members = append(members, Member{Incarnation: fmt.Sprintf("0123456789%06d", i)})
	}
	for i := range 10000 {
		shards = append(shards, Shard{ID: i, Owner: Owner{members[(i*7919)%50].Incarnation, 1}})
	}
	now := time.Unix(1000, 0)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		o.Observe("me", members, shards, now, now)
	}
}

// BenchmarkSnapshot is what a member does once a beat so that it can be seen.
func BenchmarkSnapshot(b *testing.B) {
	v := View{Revision: 1, Plan: Plan{Shards: 10000}}
	for i := range 50 {
		v.Members = append(v.Members, Member{Incarnation: fmt.Sprintf("0123456789%06d", i), Weight: 1, Beat: 100})
	}
	for i := range v.Plan.Shards {
		v.Shards = append(v.Shards, Shard{ID: i, Owner: Owner{v.Members[(i*7919)%50].Incarnation, 1}})
	}
	f := New(Options{})
	i := newIncarnation(f, nil)
	i.table.Update(v, 0, time.Unix(1000, 0))
	for n := range 200 {
		i.local[n] = &localShard{state: running}
	}
	b.ReportAllocs()
	for b.Loop() {
		i.publish(true)
	}
}
