// This file has the cases: with all rules, with those that the code has, and with each removed.

package ownership

import "sluice/bench/fleetmodel/search"

var (
	takeover = Faults{Depose: 1, Die: 1, Leave: 1, Refuse: 1, Both: 1, Lost: 1, Late: 1}
	handover = Faults{Depose: 1, Hand: 1, Back: 1, Refuse: 1, Both: 1, Late: 1}
	restart  = Faults{Depose: 1, Hand: 1, Abort: 1, Refuse: 1, Late: 1}
	failover = Faults{Depose: 1, Fail: 1, Refuse: 1}
	moves    = Faults{Hand: 1, Back: 1, Fail: 1, Refuse: 1}
	forgets  = Faults{Depose: 1, Fail: 1}
	deaths   = Faults{Die: 1, Depose: 1, Fail: 1}
	again    = Faults{Hand: 1, Abort: 1, Fail: 1, Refuse: 2}
)

type list []search.Case

// add adds a case; f changes the options from those of 2 members, 1 shard, 1 event a session.
func (l *list) add(name, removed, want string, steps int, f func(o *options)) *search.Case {
	o := options{Rules: all(), Members: 2, Shards: 1, Events: 1, FleetOnly: true, Most: 12_000_000}
	f(&o)
	*l = append(*l, search.Case{Name: name, Removed: removed, Want: want, Steps: steps, Run: o.explore})
	return &(*l)[len(*l)-1]
}

// Cases returns all.
func Cases() []search.Case {
	var l list
	l.whole()
	l.removals()
	l.failovers()
	return l
}

// whole are the cases with the rules that the code has, and with all of them.
func (l *list) whole() {
	for _, c := range []struct {
		name  string
		built bool
		want  string
		steps int
		long  bool
		f     func(o *options)
	}{
		{"as built, takeover", true, "", 0, false, func(o *options) { o.Faults = takeover }},
		{"as built, handover", true, "", 0, false, func(o *options) { o.Faults = handover }},
		{"as built, a drain that takes too long", true, "", 0, false, func(o *options) { o.Faults = restart }},
		{"as built, failover of the fleet's Redis", true, "", 0, false, func(o *options) { o.Faults = failover }},
		{"as built, failover of the fleet's Redis in a handover", true, "", 0, false, func(o *options) { o.Faults = moves }},
		{"failover of the fleet's Redis", false, "", 0, false, func(o *options) { o.Faults = failover }},
		{"failover of the fleet's Redis in a handover", false, "", 0, false, func(o *options) { o.Faults = moves }},
		{"failover of the fleet's Redis, and a drain that takes too long", false, "", 0, true, func(o *options) { o.Faults = again }},
		{"as built, takeover, 2 events", true, "", 0, true, func(o *options) { o.Faults, o.Events = takeover, 2 }},
		{"as built, handover, 2 events", true, "", 0, true, func(o *options) { o.Faults, o.Events = handover, 2 }},
		{"as built, takeover, no GATEWAY_GAP", true, "", 0, true, func(o *options) { o.Faults, o.NoGaps = takeover, true }},
		{"as built, takeover, 3 members", true, "", 0, true, func(o *options) { o.Faults, o.Members = Faults{Depose: 1, Die: 1, Refuse: 1}, 3 }},
		{"as built, handover, 3 members", true, "", 0, true, func(o *options) { o.Faults, o.Members = Faults{Depose: 1, Hand: 1, Back: 1, Late: 1}, 3 }},
		{"as built, takeover, 2 shards", true, "", 0, true, func(o *options) { o.Faults, o.Shards = Faults{Depose: 1}, 2 }},
	} {
		l.add(c.name, "", c.want, c.steps, func(o *options) {
			if c.f(o); c.built {
				o.Rules = built()
			}
		}).Long = c.long
	}
}

// removals are the cases without a rule. Of one that is redundant here, all faults of which the
// states are few find nothing.
func (l *list) removals() {
	for _, c := range []struct {
		rule   string
		faults Faults
		want   string
		steps  int
		remove func(r *Rules)
	}{
		{"a save demands the owner", handover, "I4", 14, func(r *Rules) { r.SaveOwner = false }},
		{"a save replaces no later one", handover, "I4", 31, func(r *Rules) { r.SaveNumber = false }},
		{"acquire demands the owner that was read", handover, "", 0, func(r *Rules) { r.AcquireRead = false }},
		{"load after acquire", takeover, "I3", 18, func(r *Rules) { r.LoadAfter = false }},
		{"claim before load", failover, "I3", 20, func(r *Rules) { r.ClaimFirst = false }},
		{"the position covers", failover, "I1", 17, func(r *Rules) { r.Position = false }},
		{"the position covers older sessions", failover, "", 0, func(r *Rules) { r.Older = false }},
		{"the tag", handover, "I2", 12, func(r *Rules) { r.Tag = false }},
		{"a claim never lowers the epoch", failover, "I2", 14, func(r *Rules) { r.Claim = false }},
		{"of two owners with one epoch one writes", failover, "", 0, func(r *Rules) { r.Equal = false }},
		{"neither that nor epochs by time", failover, "I3", 23, func(r *Rules) { r.Equal, r.EpochTime = false, false }},
		{"an epoch above the tag's", forgets, "I5", 7, func(r *Rules) { r.Above = false }},
		{"epochs by the coordinator's time", failover, "I3", 23, func(r *Rules) { r.EpochTime = false }},
		{"a gap from the position", failover, "I3", 20, func(r *Rules) { r.GapFrom = false }},
		{"also without a checkpoint", failover, "I3", 20, func(r *Rules) { r.NoRecord = false }},
		{"age of a session by epoch", failover, "I3", 27, func(r *Rules) { r.Began = false }},
		{"a higher epoch to start again", again, "I3", 21, func(r *Rules) { r.Again = false }},
		{"a count that goes on", failover, "", 0, func(r *Rules) { r.Count = false }},
		{"hold until the session is saved", takeover, "", 0, func(r *Rules) { r.Hold = false }},
		{"hold, nor a gap from the position", takeover, "I3", 18, func(r *Rules) { r.Hold, r.GapFrom = false, false }},
		{"the sink's acknowledgement alone", handover, "I3", 10, func(r *Rules) { r.SinkAck = false }},
		{"confirm before each dial", handover, "", 0, func(r *Rules) { r.Confirm = false }},
		{"drain before give", moves, "I3", 21, func(r *Rules) { r.Drain = false }},
		{"give demands the owner", handover, "", 0, func(r *Rules) { r.GiveOwner = false }},
		{"give demands that the target is up", handover, "", 0, func(r *Rules) { r.GiveUp = false }},
		{"take before claim", handover, "", 0, func(r *Rules) { r.Take = false }},
		{"a take-back fails once it is taken", handover, "", 0, func(r *Rules) { r.Taken = false }},
		{"a take-back is a step of the coordinator", moves, "I3", 35, func(r *Rules) { r.TakeBack = false }},
		{"a take-back raises the epoch", handover, "", 0, func(r *Rules) { r.Raise = false }},
		{"what is mine I run", moves, "I5", 12, func(r *Rules) { r.Run = false }},
		{"what is another's I drop", moves, "I5", 20, func(r *Rules) { r.Table = false }},
		{"a forgotten record is written again", deaths, "I5", 7, func(r *Rules) { r.Rewrite = false }},
	} {
		l.add("without: "+c.rule, c.rule, c.want, c.steps, func(o *options) {
			o.Faults = c.faults
			c.remove(&o.Rules)
		}).Long = c.want == ""
	}
}

// failovers are those of the sink's Redis, and of one that both use.
func (l *list) failovers() {
	for _, c := range []struct {
		only      string
		one, sink int // steps to a violation; 0: none
	}{{"I1", 19, 19}, {"I3", 20, 0}, {"I4", 0, 0}, {"I6", 20, 23}} {
		for _, sink := range []bool{false, true} {
			name, steps, want := "failover of the one Redis, ", c.one, c.only
			if sink {
				name, steps = "failover of the sink's Redis, ", c.sink
			}
			if steps == 0 {
				want = ""
			}
			l.add(name+c.only, "", want, steps, func(o *options) {
				o.Faults, o.Only, o.NoReach, o.FleetOnly, o.SinkOnly = failover, c.only, true, false, sink
			}).Long = steps == 0 && c.only == "I4"
		}
	}
	for _, c := range []struct {
		name        string
		sink        bool
		save, claim bool
		want        string
		steps       int
	}{
		{"failover of the one Redis, WAIT", false, true, true, "", 0},
		{"failover of the sink's Redis, WAIT", true, true, true, "", 0},
		{"failover of the one Redis, WAIT, but not of a new session's save", false, false, true, "I3", 20},
		{"failover of the sink's Redis, WAIT, but not of the claim", true, true, false, "", 0},
	} {
		l.add(c.name, "", c.want, c.steps, func(o *options) {
			o.Faults, o.Only, o.NoReach, o.FleetOnly, o.SinkOnly = failover, "I3", true, false, c.sink
			o.Wait, o.WaitSave, o.WaitClaim = true, c.save, c.claim
		})
	}
	for _, c := range []struct {
		consumer, name string
		i1, i6         int
	}{{"lower", "refuse lower epochs", 0, 0}, {"", "compare (session, seq) alone", 22, 21}} {
		for _, v := range []struct {
			only  string
			steps int
		}{{"I1", c.i1}, {"I3", 0}, {"I6", c.i6}} {
			want := v.only
			if v.steps == 0 {
				want = ""
			}
			l.add("broker that cannot refuse, consumers "+c.name+", "+v.only, "", want, v.steps, func(o *options) {
				o.Broker, o.Consumer, o.Faults, o.Only, o.NoReach = true, c.consumer, takeover, v.only, true
			}).Long = v.steps == 0 && v.only != "I3"
		}
	}
}
