// This file tests what the document says of a fleet.

package status

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/engine"
	"sluice/fleet"
)

// seen is a fleet with something in each field.
func seen(now time.Time) (fleet.Snapshot, fleet.QueueStatus) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	a := fleet.Member{Incarnation: "AAAAAAAAAAAA", Name: "a", Zone: "z1", Weight: 2, Beat: 7, Address: "127.0.0.1:8080", Version: "v1"}
	b := fleet.Member{Incarnation: "BBBBBBBBBBBB", Name: "b", Weight: 1, State: fleet.Draining}
	c := fleet.Member{Incarnation: "CCCCCCCCCCCC", Name: "c", Weight: 1, State: fleet.Deposed}
	return fleet.Snapshot{
			Incarnation: a.Incarnation, Confirmed: true, Beaten: ago(400 * time.Millisecond), Changed: ago(time.Minute), Revision: 99,
			Plan: fleet.Plan{Generation: 2, Shards: 16, Intents: 513, Format: "redis json"},
			Members: []fleet.MemberStatus{
				{Member: a, Beaten: ago(time.Second), Shards: 9, Share: 10.6666}, {Member: b, Beaten: ago(2 * time.Second), Shards: 2}, {Member: c, Shards: 5},
			},
			Moves: []fleet.Move{{Shard: 3, From: b.Incarnation, To: a.Incarnation, Since: ago(500 * time.Millisecond)}}, Unowned: 5, Starting: 1,
			Deaths: []fleet.Death{{Member: c, At: ago(3 * time.Second), Shards: 5, Own: true}, {Member: fleet.Member{Incarnation: "DDDDDDDDDDDD"}, At: ago(time.Hour)}},
			Counts: fleet.Counts{Deaths: 2, Takeovers: 3, Given: 4, Taken: 5},
		}, fleet.QueueStatus{
			Waiting: 3, Turns: 1, Known: true,
			Budget: fleet.Budget{Total: 1000, Remaining: 900, Reserve: 100, Reset: now.Add(time.Hour), Concurrency: 16},
		}
}

func TestFleet(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	s, q := seen(now)
	text, err := json.Marshal(newFleet(now, "a", s, q))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"joined":true,"member":"a","incarnation":"AAAAAAAAAAAA","draining":false,"confirmed":true,"beat":0.4,"stable":60,"revision":99,` +
		`"plan":{"generation":2,"shards":16,"intents":513,"format":"redis json"},"members":[` +
		`{"name":"a","incarnation":"AAAAAAAAAAAA","state":"up","zone":"z1","weight":2,"shards":9,"share":10.7,"beat":1,"version":"v1","address":"127.0.0.1:8080"},` +
		`{"name":"b","incarnation":"BBBBBBBBBBBB","state":"draining","zone":"","weight":1,"shards":2,"share":0,"beat":2,"version":"","address":""},` +
		`{"name":"c","incarnation":"CCCCCCCCCCCC","state":"deposed","zone":"","weight":1,"shards":5,"share":0,"beat":0,"version":"","address":""}],` +
		`"unowned":5,"starting":1,"moves":[{"shard":3,"from":"BBBBBBBBBBBB","to":"AAAAAAAAAAAA","since":0.5}],` +
		`"deaths":[{"name":"c","incarnation":"CCCCCCCCCCCC","at":"2026-03-04T05:06:04Z","shards":5,"by":"a"},` +
		`{"name":"","incarnation":"DDDDDDDDDDDD","at":"2026-03-04T04:06:07Z","shards":0}],` +
		`"counts":{"deaths":2,"takeovers":3,"given":4,"taken":5},` +
		`"identify":{"waiting":3,"turns":1,"known":true,"total":1000,"remaining":900,"reserve":100,"reset":"2026-03-04T06:06:07Z","max_concurrency":16}}`
	if string(text) != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}

func TestFleetSummary(t *testing.T) {
	now := time.Now()
	s, q := seen(now)
	for want, change := range map[string]func(*fleet.Snapshot){
		"a, one of 3 members, with 9 of 16 shards, 1 moving, 5 without an owner":                          func(*fleet.Snapshot) {},
		"a, one of 3 members, with 9 of 16 shards, not confirmed, draining, 1 moving, 5 without an owner": func(s *fleet.Snapshot) { s.Confirmed, s.Draining = false, true },
		"a, one of 1 member, with 9 of 16 shards": func(s *fleet.Snapshot) {
			s.Members, s.Moves, s.Unowned = s.Members[:1], nil, 0
		},
	} {
		s := s
		change(&s)
		if got := newFleet(now, "a", s, q).Summary(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := WaitingFleet("a", "no way").Summary(); got != "not joined yet: no way" {
		t.Errorf("%q", got)
	}
}

// /readyz fails for a member that is not confirmed, and while a process waits to join; /livez does not.
func TestFleetChecks(t *testing.T) {
	now := time.Now()
	shown, q := seen(now)
	src := newSource(t, &state{engine: engine.Status{Shards: 16}})
	ready := func() (bool, string) {
		var texts []string
		checks := src.Checks()
		for _, c := range checks {
			if c.Name == "fleet" && c.Of == Readyz {
				texts = append(texts, c.Text)
			}
		}
		if !holds(checks, Livez) {
			t.Error("/livez fails")
		}
		ok := true
		for _, c := range checks {
			ok = ok && (c.Name != "fleet" || c.OK)
		}
		return ok, strings.Join(texts, "|")
	}
	src.Fleet = func() *Fleet { return newFleet(now, "a", shown, q) }
	src.Epochs = func() map[int]int64 { return map[int]int64{1: 17} }
	if ok, text := ready(); !ok || text != "member a, one of 3, confirmed" {
		t.Errorf("%v %q", ok, text)
	}
	shown.Confirmed = false
	if ok, text := ready(); ok || text != "member a is not confirmed yet" {
		t.Errorf("%v %q", ok, text)
	}
	shown.Cut, shown.Err = now.Add(-20*time.Second), errors.New("dial: refused")
	if ok, text := ready(); ok || text != "member a is not confirmed: Redis has not answered for 20 s: dial: refused" {
		t.Errorf("%v %q", ok, text)
	}
	src.Fleet = func() *Fleet { return WaitingFleet("a", "no way") }
	if ok, text := ready(); ok || text != "not joined yet: no way" || len(src.Checks()) != 2 {
		t.Errorf("%v %q of %+v", ok, text, src.Checks())
	}
	if d, _ := serve(t, src); d.Fleet == nil || d.Fleet.Joined || d.Fleet.Why != "no way" || d.Health.Ready || !d.Health.Live {
		t.Errorf("%+v, %+v", d.Fleet, d.Health)
	}
}

// Each shard has its epoch, but in a long list.
func TestEpochs(t *testing.T) {
	src := newSource(t, many(2))
	src.Epochs = func() map[int]int64 { return map[int]int64{1: 17} }
	list := src.Shards()
	if list[0].Epoch != 0 || list[1].Epoch != 17 {
		t.Errorf("%+v", list)
	}
	long := make([]Shard, manyShards+1)
	long[0].Epoch = 17
	if Abridge(long); long[0].Epoch != 0 {
		t.Error("a long list has epochs")
	}
}
