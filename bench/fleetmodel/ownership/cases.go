// This file has the cases: with all rules, and with each of them removed.

package ownership

import "sluice/bench/fleetmodel/search"

var (
	take  = Faults{Depose: 1, Die: 1, Refuse: 1, Both: 1, Lost: 1, Late: 1}
	hand  = Faults{Depose: 1, Hand: 1, Back: 1, Refuse: 1, Both: 1, Late: 1}
	every = Faults{Depose: 1, Die: 1, Hand: 1, Back: 1, Refuse: 1, Both: 1, Late: 1, Lost: 1}
	three = Faults{Depose: 1, Die: 1, Refuse: 1}
	cut   = Faults{Cut: 1, Refuse: 1, Late: 1}
	idles = Faults{Depose: 1, Expire: 1, Refuse: 1, Both: 1}
	fail  = Faults{Depose: 1, Fail: 1, Refuse: 1}
	moves = Faults{Hand: 1, Back: 1, Fail: 1, Refuse: 1}
	death = Faults{Depose: 1, Fail: 1, Refuse: 1, Die: 1}
)

// list gathers cases.
type list []search.Case

// add adds a case; f changes the options from those of 2 members, 1 shard, 2 events a session.
func (l *list) add(name, removed, want string, steps int, f func(o *options)) *search.Case {
	o := options{Rules: all(), Members: 2, Shards: 1, Events: 2, Most: 40_000_000}
	f(&o)
	*l = append(*l, search.Case{Name: "ownership/" + name, Removed: removed, Want: want, Steps: steps, Run: o.explore})
	return &(*l)[len(*l)-1]
}

// Cases returns all.
func Cases() []search.Case {
	var l list
	l.whole()
	l.removals()
	l.failovers()
	l.brokers()
	return l
}

// whole are the cases with all rules.
func (l *list) whole() {
	for _, c := range []struct {
		name  string
		short bool
		f     func(o *options)
	}{
		{"takeover, 1 event", true, func(o *options) { o.Faults, o.Events = take, 1 }},
		{"handover, 1 event", true, func(o *options) { o.Faults, o.Events = hand, 1 }},
		{"2 shards, takeover", true, func(o *options) { o.Faults, o.Events, o.Shards = Faults{Depose: 1}, 1, 2 }},
		{"takeover, 3 events", false, func(o *options) { o.Faults, o.Events = take, 3 }},
		{"takeover, 3 events, a connection is closed", false, func(o *options) { o.Faults, o.Events = take, 2; o.Faults.Cut = 1 }},
		{"handover, 3 events", false, func(o *options) { o.Faults, o.Events = hand, 3 }},
		{"all faults", false, func(o *options) { o.Faults = every }},
		{"two deposes, two refusals", false, func(o *options) { o.Faults = Faults{Depose: 2, Refuse: 2, Both: 1, Late: 1} }},
		{"3 members, takeover", false, func(o *options) { o.Faults, o.Members = take, 3; o.Faults.Lost, o.Faults.Late = 0, 0 }},
		{"3 members, handover", false, func(o *options) { o.Faults, o.Members = hand, 3; o.Faults.Both = 0 }},
		{"2 shards, takeover and refusal", false, func(o *options) { o.Faults, o.Events, o.Shards = Faults{Depose: 1, Refuse: 1}, 1, 2 }},
		{"2 shards, handover", false, func(o *options) { o.Faults, o.Events, o.Shards = Faults{Hand: 1, Back: 1, Depose: 1}, 1, 2 }},
		{"takeover, no GATEWAY_GAP", false, func(o *options) { o.Faults, o.NoGaps = take, true }},
		{"handover, no GATEWAY_GAP", false, func(o *options) { o.Faults, o.NoGaps = hand, true }},
	} {
		l.add(c.name, "", "", 0, c.f).Long = !c.short
	}
}

// removal is a rule that is removed, and what comes of it.
type removal struct {
	rule   string
	remove func(r *Rules)
	alone  outcome // with all others
	bare   outcome // without the tag too
}

// outcome is what the model finds with some faults.
type outcome struct {
	faults Faults
	events uint8
	want   string
	steps  int
}

// removals are the cases with one rule removed, and with the tag removed too: it covers much.
func (l *list) removals() {
	none := outcome{}
	for _, r := range []removal{
		{"seal", func(r *Rules) { r.Seal = false }, none, outcome{take, 1, "I3", 20}},
		{"seal before load", func(r *Rules) { r.SealBefore = false }, none, outcome{take, 1, "I3", 20}},
		{"whoever acquires seals", func(r *Rules) { r.SealAny = false }, none, outcome{three, 1, "I3", 20}},
		{"the sink refuses what is sealed", func(r *Rules) { r.SinkRefuses = false }, outcome{take, 1, "I2", 11}, none},
		{"save: the member is up", func(r *Rules) { r.SaveState = false }, none, none},
		{"save: it owns the shard", func(r *Rules) { r.SaveOwner = false }, outcome{hand, 1, "I4", 24}, none},
		{"save: neither of the two", func(r *Rules) { r.SaveState, r.SaveOwner = false, false }, outcome{take, 1, "I4", 15}, none},
		{"save: no older session", func(r *Rules) { r.SaveNumber = false }, outcome{cut, 2, "I4", 18}, none},
		{"acquire with the epoch that was read", func(r *Rules) { r.AcquireRead = false }, none, outcome{three, 1, "I3", 20}},
		{"load after acquire", func(r *Rules) { r.LoadAfter = false }, outcome{fail, 1, "I3", 31}, none},
		{"position", func(r *Rules) { r.Position = false }, outcome{take, 1, "I1", 18}, none},
		{"tag", func(r *Rules) { r.Tag = false }, outcome{fail, 1, "I3", 26}, none},
		{"a claim never lowers the epoch", func(r *Rules) { r.Claim = false }, none, none},
		{"an epoch above the tag's", func(r *Rules) { r.Above = false }, outcome{moves, 1, "I5", 15}, none},
		{"equality, not greater", func(r *Rules) { r.Equal = false }, outcome{fail, 1, "I4", 17}, none},
		{"epochs by Redis' TIME", func(r *Rules) { r.EpochTime = false }, none, none},
		{"epochs by Redis' TIME, nor above the tag's", func(r *Rules) { r.EpochTime, r.Above = false, false }, outcome{death, 1, "I5", 13}, none},
		{"gap from the position", func(r *Rules) { r.GapFrom = false }, outcome{fail, 1, "I3", 21}, none},
		{"age of a session by epoch", func(r *Rules) { r.Age = false }, outcome{fail, 1, "I6", 30}, none},
		{"hold until the session is persisted", func(r *Rules) { r.Hold = false }, none, none},
		{"hold, and gap from the position", func(r *Rules) { r.Hold, r.GapFrom = false, false }, outcome{take, 1, "I3", 19}, none},
		{"the sink's acknowledgement alone", func(r *Rules) { r.SinkAck = false }, outcome{take, 1, "I3", 10}, none},
		{"discard after a deposition", func(r *Rules) { r.Discard = false }, none, outcome{take, 1, "I3", 21}},
		{"restore leaves deposed alone", func(r *Rules) { r.Restore = false }, outcome{idles, 2, "I2", 17}, none},
		{"confirm before each dial", func(r *Rules) { r.Confirm = false }, none, outcome{hand, 1, "I3", 23}},
		{"confirm: ownership too", func(r *Rules) { r.ConfirmOwn = false }, none, outcome{hand, 1, "I3", 27}},
		{"drain before transfer", func(r *Rules) { r.Drain = false }, none, outcome{hand, 1, "I3", 21}},
		{"transfer: owner and target are up", func(r *Rules) { r.Check = false }, none, outcome{hand, 1, "I3", 28}},
		{"taken", func(r *Rules) { r.Taken = false }, none, outcome{hand, 1, "I3", 27}},
		{"take back by script", func(r *Rules) { r.TakeBack = false }, none, outcome{hand, 1, "I3", 26}},
		{"take back after a late transfer raises the epoch", func(r *Rules) { r.Raise = false }, none, outcome{hand, 1, "I3", 25}},
		{"what the table says is mine, I run", func(r *Rules) { r.Run = false }, outcome{take, 1, "I5", 3}, none},
		{"what it says is another's, I drop", func(r *Rules) { r.Table = false }, none, none},
		{"a forgotten record is written again", func(r *Rules) { r.Rewrite = false }, outcome{death, 1, "I5", 7}, none},
	} {
		with := func(name string, out outcome, bare bool) {
			l.add(name, name[len("without "):], out.want, out.steps, func(o *options) {
				o.Faults, o.Events, o.FleetOnly = out.faults, out.events, true
				if out.events == 0 {
					o.Faults, o.Events = every, 1
				}
				r.remove(&o.Rules)
				if bare {
					o.Tag = false
				}
				o.Members = 2
				if o.Faults == three {
					o.Members = 3
				}
			}).Long = out.events == 0
		}
		with("without "+r.rule, r.alone, false)
		if r.bare != none {
			with("without "+r.rule+" and tag", r.bare, true)
		}
	}
}
