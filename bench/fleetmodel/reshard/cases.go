// This file has the cases: with all rules, and with each removed.

package reshard

import "sluice/bench/fleetmodel/search"

// size is a model without its rules.
type size struct {
	from, to int
	events   [maxGuilds]uint8
	apart    bool // each old shard is at a member of its own at first
	faults   Faults
	except   string
}

var (
	one    = [maxGuilds]uint8{1, 0}
	plain  = size{1, 2, [maxGuilds]uint8{2, 0}, false, Faults{Propose: 1}, ""}
	gather = size{2, 1, [maxGuilds]uint8{1, 1}, true, Faults{Propose: 1, Hand: 1}, ""}
	fails  = size{2, 2, one, true, Faults{Propose: 1, Abort: 1}, ""}
	depose = size{1, 2, one, false, Faults{Propose: 1, Depose: 1}, ""}
	takes  = size{1, 2, one, false, Faults{Propose: 1, Die: 1}, ""}
	lates  = size{1, 2, one, false, Faults{Propose: 1, Abort: 1, Late: 1}, ""}
	lags   = size{1, 2, one, false, Faults{Propose: 1, Fail: 1}, "I6"}
	older  = size{1, 2, one, false, Faults{Propose: 1, CallOff: 1, Die: 1}, ""}
	off    = size{1, 2, one, false, Faults{Propose: 2, CallOff: 1, Late: 1}, ""}
	forget = size{1, 2, one, false, Faults{Propose: 1, Abort: 1, Fail: 1}, "I6"}
	dies   = size{2, 2, one, true, Faults{Propose: 1, Die: 1}, ""}
	comes  = size{2, 2, one, true, Faults{Propose: 1, Abort: 1, Late: 1}, ""}
)

type list []search.Case

// add adds a case; f changes the options.
func (l *list) add(name, removed, want string, steps int, z size, f func(o *options)) *search.Case {
	o := options{Rules: all(), From: z.from, To: z.to, Events: z.events, Apart: z.apart, Faults: z.faults, Except: z.except, Most: 6_000_000}
	if f != nil {
		f(&o)
	}
	*l = append(*l, search.Case{Name: name, Removed: removed, Want: want, Steps: steps, Run: o.explore})
	return &(*l)[len(*l)-1]
}

// Cases returns all.
func Cases() []search.Case {
	var l list
	l.whole()
	l.removals()
	return l
}

// whole are the cases with all rules.
func (l *list) whole() {
	for _, c := range []struct {
		name  string
		size  size
		want  string
		steps int
		long  bool
		f     func(o *options)
	}{
		{"1 shard to 2, 2 events", plain, "", 0, false, nil},
		{"2 shards to 1, gathered", gather, "", 0, false, nil},
		{"two classes, an attempt that fails", fails, "", 0, false, nil},
		{"two classes, a member dies", dies, "", 0, false, nil},
		{"1 shard to 2, a member is deposed", depose, "", 0, true, nil},
		{"1 shard to 2, called off, a late call", off, "", 0, true, nil},
		{"1 shard to 2, a member joins", plain, "", 0, false, func(o *options) { o.Alone, o.Faults.Join = true, 1 }},
		{"1 shard to 2, a member dies and joins again, an answer is lost", depose, "", 0, true, func(o *options) { o.Faults = Faults{Propose: 1, Die: 1, Join: 1, Lost: 1} }},
		{"1 shard to 2, beside a member of an earlier version", plain, "", 0, false, func(o *options) { o.Earlier, o.Faults.CallOff = true, 1 }},
		{"1 shard to 2, failover", forget, "", 0, false, nil},
		{"1 shard to 2, failover, I6 too", forget, "I6", 19, false, func(o *options) { o.Except = "" }},
		{"two classes, an attempt that fails, a late call", comes, "", 0, true, nil},
		{"two classes, a member is deposed", dies, "", 0, true, func(o *options) { o.Faults = Faults{Propose: 1, Depose: 1} }},
	} {
		l.add(c.name, "", c.want, c.steps, c.size, c.f).Long = c.long
	}
}

// removals are the cases without a rule. That of a class which is whole has too many states.
func (l *list) removals() {
	for _, c := range []struct {
		rule   string
		size   size
		want   string
		steps  int
		remove func(r *Rules)
	}{
		{"the tag: the sink writes under the last claim alone", depose, "I2", 6, func(r *Rules) { r.Tag = false }},
		{"old and new shards agree before a member does", takes, "I5", 10, func(r *Rules) { r.Compare = false }},
		{"who has prepared waits for the outcome", takes, "I6", 16, func(r *Rules) { r.Wait = false }},
		{"a record says what is to come, not what was read", takes, "I5", 15, func(r *Rules) { r.First = false }},
		{"the new shards have shown what the old ones have", takes, "I1", 22, func(r *Rules) { r.Met = false }},
		{"the old shards stop", takes, "I6", 15, func(r *Rules) { r.Stop = false }},
		{"and are drained", takes, "I6", 15, func(r *Rules) { r.Drain = false }},
		{"Commit demands the present attempt, at the switch", lates, "", 0, func(r *Rules) { r.CommitAttempt = false }},
		{"and that all have prepared", fails, "I6", 17, func(r *Rules) { r.CommitAll = false }},
		{"and the revision of Switch", depose, "", 0, func(r *Rules) { r.CommitTable = false }},
		{"and that nobody of them is deposed", dies, "", 0, func(r *Rules) { r.CommitLives = false }},
		{"Prepare demands the revision of Switch", depose, "", 0, func(r *Rules) { r.PrepareTable = false }},
		{"and a higher epoch", depose, "", 0, func(r *Rules) { r.PrepareEpoch = false }},
		{"Abort forgets what was prepared", fails, "I6", 23, func(r *Rules) { r.Forgets = false }},
		{"and has the next attempt have another number", lates, "", 0, func(r *Rules) { r.Number = false }},
		{"Switch and Commit wait for all who live", older, "I6", 17, func(r *Rules) { r.Heard = false }},
		{"a session that the coordinator was given is not ended", forget, "", 0, func(r *Rules) { r.Given = false }},
		{"an attempt that was gone back from is not begun again", forget, "", 0, func(r *Rules) { r.Past = false }},
		{"attempts are numbered by the coordinator's time", forget, "", 0, func(r *Rules) { r.Time = false }},
		{"epochs by the coordinator's time", forget, "", 0, func(r *Rules) { r.Epochs = false }},
		{"an epoch above the tag's after a refused claim", forget, "", 0, func(r *Rules) { r.Above = false }},
		{"a claim before anything of the new shards goes out", takes, "", 0, func(r *Rules) { r.Claim = false }},
		{"who sees a commit without it drops what it runs", depose, "", 0, func(r *Rules) { r.Follow = false }},
		{"shards stay as they are at the switch", takes, "", 0, func(r *Rules) { r.Held = false }},
		{"new shards end with an old one", depose, "I5", 8, func(r *Rules) { r.Same = false }},
		{"who does not agree any more says so", depose, "", 0, func(r *Rules) { r.Withdraw = false }},
		{"who lacks a shard does not switch", depose, "", 0, func(r *Rules) { r.Lacks = false }},
		{"who reads that the attempt is another goes back", fails, "I5", 12, func(r *Rules) { r.Leave = false }},
		{"an attempt ends when an owner is dead", dies, "I5", 12, func(r *Rules) { r.Dead = false }},
		{"a switch that is forgotten is aborted", lags, "I5", 11, func(r *Rules) { r.Again = false }},
		{"an attempt that takes too long is aborted", lags, "I5", 13, func(r *Rules) { r.Timeout = false }},
		{"Agree demands the table's revision", lates, "", 0, func(r *Rules) { r.AgreeRevision = false }},
		{"and all shards of the member", gather, "", 0, func(r *Rules) { r.AgreeShards = false }},
		{"and the present attempt", lates, "", 0, func(r *Rules) { r.AgreeAttempt = false }},
		{"Switch demands that all owners have agreed", fails, "", 0, func(r *Rules) { r.SwitchAll = false }},
		{"as of the present revision", gather, "", 0, func(r *Rules) { r.SwitchNow = false }},
		{"CallOff demands the present attempt", off, "", 0, func(r *Rules) { r.CallOff = false }},
		{"the sink leaves out what its position covers", takes, "", 0, func(r *Rules) { r.Position = false }},
	} {
		l.add("without: "+c.rule, c.rule, c.want, c.steps, c.size, func(o *options) {
			o.Earlier = c.rule == "Switch and Commit wait for all who live"
			c.remove(&o.Rules)
		}).Long = c.want == ""
	}
}
