package slots

import "sluice/bench/fleetmodel/search"

// Cases returns all.
func Cases() (cases []search.Case) {
	add := func(name, removed, want string, steps int, f func(o *options)) *search.Case {
		o := options{Rules: all(), Events: 4, Lost: 1}
		f(&o)
		cases = append(cases, search.Case{Name: "slots/" + name, Removed: removed, Want: want, Steps: steps,
			Run: func() search.Result { return search.Explore(o.model(), 20_000_000) }})
		return &cases[len(cases)-1]
	}
	add("4 events", "", "", 0, func(o *options) { o.Lost = 0 })
	add("6 events, lost answers", "", "", 0, func(o *options) { o.Events, o.Lost = 6, 2 }).Long = true
	for _, r := range []struct {
		rule        string
		remove      func(r *Rules)
		alone, bare string
		steps, more int // and without the tag
	}{
		{"each slot is sealed", func(r *Rules) { r.SealEach = false }, "", "", 0, 0},
		{"a slot is listed before the first write", func(r *Rules) { r.List = false }, "", "", 0, 0},
		{"seal before load", func(r *Rules) { r.SealBefore = false }, "", "", 0, 0},
		{"a position for each slot", func(r *Rules) { r.Position = false }, "", "", 0, 0},
		{"tag", func(r *Rules) { r.Tag = false }, "", "", 0, 0},
		{"an offset for each slot", func(r *Rules) { r.Offset = false }, "", "", 0, 0},
		{"acknowledged in order", func(r *Rules) { r.InOrder = false }, "", "", 0, 0},
	} {
		add("without "+r.rule, r.rule, r.alone, r.steps, func(o *options) { r.remove(&o.Rules) })
		add("without "+r.rule+" and tag", r.rule+" and tag", r.bare, r.more, func(o *options) { r.remove(&o.Rules); o.Tag = false })
	}
	return cases
}
