// This file has the cases in which Redis forgets its last writes, and those of a broker that cannot refuse.

package ownership

// failovers are the cases in which a replica takes over that has fallen behind by any number of
// writes.
func (l *list) failovers() {
	l.add("failover of the fleet's Redis", "", "", 0, func(o *options) { o.Faults, o.Events, o.FleetOnly = fail, 1, true })
	l.add("failover of the fleet's Redis in a handover", "", "", 0, func(o *options) { o.Faults, o.Events, o.FleetOnly = moves, 1, true })
	l.add("failover of the fleet's Redis, and a death", "", "", 0, func(o *options) { o.Faults, o.Events, o.FleetOnly = death, 1, true }).Long = true
	l.add("failover of the fleet's Redis, 2 events", "", "", 0, func(o *options) { o.Faults, o.FleetOnly = fail, true }).Long = true
	for _, c := range []struct {
		only      string
		one, sink int // steps to a violation; 0: none
	}{{"I1", 20, 20}, {"I3", 21, 0}, {"I4", 0, 0}, {"I6", 21, 24}} {
		for _, sink := range []bool{false, true} {
			name, steps, want := "one", c.one, c.only
			if sink {
				name, steps = "sink's", c.sink
			}
			if steps == 0 {
				want = ""
			}
			l.add("failover of the "+name+" Redis, "+c.only, "", want, steps, func(o *options) {
				o.Faults, o.Events, o.Only, o.NoReach, o.SinkOnly = fail, 1, c.only, true, sink
			})
		}
	}
	// With WAIT nothing is lost, if the save of a new session and the claim wait too.
	for _, c := range []struct {
		without     string
		sink        bool
		save, claim bool
		want        string
		steps       int
	}{
		{"", false, true, true, "", 0},
		{"", true, true, true, "", 0},
		{" of a new session's save", false, false, true, "I3", 21},
		{" of the claim", true, true, false, "I3", 22},
	} {
		name := "failover of the one Redis, WAIT"
		if c.sink {
			name = "failover of the sink's Redis, WAIT"
		}
		if c.without != "" {
			name += ", not" + c.without
		}
		removed := ""
		if c.without != "" {
			removed = "WAIT" + c.without
		}
		l.add(name, removed, c.want, c.steps, func(o *options) {
			o.Faults, o.Events, o.Only, o.NoReach, o.SinkOnly = fail, 1, "I3", true, c.sink
			o.Wait, o.WaitSave, o.WaitClaim = true, c.save, c.claim
		})
	}
}

// brokers are the cases of a broker that cannot refuse, with consumers that go by epochs or not.
func (l *list) brokers() {
	for _, b := range []struct {
		name, consumer string
		faults         Faults
		i3, i6         int // steps to a violation; 0: none
	}{
		{"takeover, consumers refuse lower epochs", "lower", take, 0, 0},
		{"handover, consumers refuse lower epochs", "lower", hand, 0, 0},
		{"takeover, consumers compare (session, seq) alone", "", take, 0, 22},
		{"takeover, consumers compare epochs for equality", "replaced", take, 0, 22},
		{"failover, consumers refuse lower epochs", "lower", fail, 21, 27},
		{"failover, consumers compare epochs for equality", "replaced", fail, 21, 21},
	} {
		for _, c := range []struct {
			only  string
			steps int
		}{{"I1", 0}, {"I3", b.i3}, {"I6", b.i6}} {
			want := c.only
			if c.steps == 0 {
				want = ""
			}
			l.add("broker, "+b.name+", "+c.only, "", want, c.steps, func(o *options) {
				o.Broker, o.Consumer, o.Faults, o.FleetOnly, o.NoReach, o.Only, o.Events = true, b.consumer, b.faults, true, true, c.only, 1
			})
		}
	}
}
