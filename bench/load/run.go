// This file runs scenarios: every subject in turn, again and again.

package load

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/bench/report"
)

// Options say what to run. Simulator and Gateway are required.
type Options struct {
	// Simulator is a command that calls ServeSim.
	Simulator []string
	// Gateway is the path of the gateway, and Version what it is called.
	Gateway, Version string
	// Env is set for the gateway besides.
	Env []string
	// Peers are other programs, which keep to the protocol of the package.
	Peers []Subject
	// Scenarios are the names of those to run; none: all.
	Scenarios []string
	// Repeat is how often each subject is measured. Default 3.
	Repeat int
	// Window is how long a scenario at a rate is measured, and Warmup how long
	// it runs before. Default 8 s and 3 s.
	Window, Warmup time.Duration
	// Guilds is how many MiB of guilds each shard gets in the scenario of that
	// name. Default 36.
	Guilds int
	// Quick runs few scenarios, once and shortly: to see that it works.
	Quick bool
	// GatewayOnly leaves out all but the gateway with its epoll reader.
	GatewayOnly bool
	// Progress, if set, is called with what is measured now.
	Progress io.Writer
	// InWindow, if set, is called at the beginning of each window with the base
	// URL of the gateway's debug address. The window lasts until it returns.
	InWindow func(debug string, window time.Duration)
}

// Names returns the scenarios and what each is about.
func Names() (names, about []string) {
	for _, s := range scenarios {
		names, about = append(names, s.name), append(about, s.about)
	}
	return names, about
}

func (o Options) withDefaults() Options {
	if o.Repeat == 0 {
		o.Repeat = 3
	}
	if o.Window == 0 {
		o.Window = 8 * time.Second
	}
	if o.Warmup == 0 {
		o.Warmup = 3 * time.Second
	}
	if o.Quick {
		o.Repeat, o.Window, o.Warmup = 1, 2*time.Second, time.Second
	}
	if o.Guilds == 0 {
		o.Guilds = 36
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return o
}

// choose returns the scenarios with the names. Without names, those for which
// something is missing on this machine are left out, and why.
func (o *Options) choose() (chosen []scenario, left []string, err error) {
	scenarios := slices.Clone(scenarios)
	for i := range scenarios {
		if s := &scenarios[i]; s.kind == kindGuilds {
			s.guilds = o.Guilds
			s.about = fmt.Sprintf("%d shards over TLS start, with %d MiB of guilds each.", s.shards, o.Guilds)
		}
	}
	missing := func(s scenario) error {
		if s.broker == nil {
			return nil
		}
		return s.broker.missing()
	}
	if len(o.Scenarios) == 0 {
		for _, s := range scenarios {
			if s.named || o.Quick && !s.quick {
				continue
			}
			if err := missing(s); err != nil {
				left = append(left, fmt.Sprintf("%s is left out: %v", s.name, err))
				continue
			}
			chosen = append(chosen, s)
		}
		return chosen, left, nil
	}
	for _, name := range o.Scenarios {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			names, _ := Names()
			return nil, nil, fmt.Errorf("no scenario %q; there are %s", name, strings.Join(names, ", "))
		}
		if err := missing(scenarios[i]); err != nil {
			return nil, nil, fmt.Errorf("scenario %s: %w", name, err)
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil, nil
}

// Check returns what is wrong with the options, if anything is.
func (o Options) Check() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("processes are measured on Linux, and this is %s", runtime.GOOS)
	}
	switch {
	case o.Repeat < 0:
		return fmt.Errorf("a subject is measured %d times; it must be once or more", o.Repeat)
	case o.Window < 0 || o.Window > 0 && o.Window < 100*time.Millisecond:
		return fmt.Errorf("a window of %v is too short; it must be 100ms or more", o.Window)
	case o.Warmup < 0:
		return fmt.Errorf("a warm-up of %v is none", o.Warmup)
	case o.Guilds < 0 || o.Guilds > 1024:
		return fmt.Errorf("%d MiB of guilds are not between 1 and 1024", o.Guilds)
	}
	_, _, err := o.choose()
	return err
}

// Run measures the subjects in the scenarios. What fails is in the report, in
// Run.Failure; an error means that nothing could be measured. When ctx is done
// the report has what was measured by then, with ctx's error.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	o = o.withDefaults()
	raiseLimit()
	began := time.Now()
	r := &report.Report{Version: report.Version, Started: began.UTC().Truncate(time.Second), Gateway: o.Version, Quick: o.Quick, Machine: thisMachine()}
	chosen, left, _ := o.choose()
	for _, why := range left {
		fmt.Fprintln(o.Progress, why)
	}
	for i, sc := range chosen {
		subjects := o.subjects(sc)
		out := report.Scenario{Name: sc.name, About: sc.about, Shards: sc.shards, Rate: sc.rate * float64(sc.shards), TLS: sc.tls}
		if sc.rate < 0 {
			out.Rate = -1
		}
		for _, s := range subjects {
			out.Subjects = append(out.Subjects, report.Subject{Name: s.Name, Gateway: s.Gateway, Compression: s.Compression})
		}
		at := 0 // of out.Subjects: the next that is measured
		for round := range o.Repeat {
			for together := range slices.Chunk(subjects, sc.together()) {
				if ctx.Err() != nil {
					r.Scenarios = append(r.Scenarios, out)
					r.Seconds = time.Since(began).Seconds()
					return r, ctx.Err()
				}
				for _, s := range together {
					fmt.Fprintf(o.Progress, "[%s] scenario %d of %d: %s, %s %s, round %d of %d\n",
						time.Since(began).Round(time.Second), i+1, len(chosen), sc.name, s.Name, s.Compression, round+1, o.Repeat)
				}
				done := make([]outcome, len(together))
				var wait sync.WaitGroup
				for j, s := range together {
					wait.Go(func() {
						m := &measurement{o: &o, sc: sc, subject: s}
						done[j].run, done[j].err = m.run(ctx)
						done[j].peer, done[j].compression = m.hello.Peer, m.hello.Compression
					})
				}
				wait.Wait()
				if ctx.Err() != nil {
					continue // and to the end: half a run counts for nothing
				}
				for _, d := range done {
					if d.err != nil {
						d.run.Failure = d.err.Error()
						fmt.Fprintf(o.Progress, "    failed: %v\n", d.err)
					}
					subject := &out.Subjects[at]
					at = (at + 1) % len(subjects)
					if d.peer != "" {
						subject.Name = d.peer
					}
					if d.compression != "" {
						subject.Compression = d.compression
					}
					subject.Runs = append(subject.Runs, d.run)
				}
			}
			if sc.observed && len(subjects) > 1 {
				compare(&out.Subjects[0].Runs[round], &out.Subjects[1].Runs[round])
			}
		}
		r.Scenarios = append(r.Scenarios, out)
	}
	r.Seconds = time.Since(began).Seconds()
	return r, ctx.Err()
}

// subjects returns who is measured in a scenario.
func (o *Options) subjects(sc scenario) []Subject {
	var all []Subject
	readers := []string{"epoll"}
	if sc.goroutine && !o.GatewayOnly {
		readers = append(readers, "goroutine")
	}
	for i, c := range sc.compressions {
		for _, r := range readers {
			if i > 0 && r != "epoll" {
				continue
			}
			env := append(append([]string{"READER_TYPE=" + r}, sc.env...), o.Env...)
			all = append(all, Subject{Name: "gateway " + r, Gateway: true, Command: []string{o.Gateway}, Env: env, Compression: c})
		}
	}
	if sc.stores {
		s := all[0]
		s.Name, s.Stores = "gateway with checkpoints", true
		all = append(all, s)
	}
	if sc.observed {
		s := all[0]
		s.Name, s.Observed = "gateway observed", true
		if all = append(all, s); o.InWindow != nil { // this one is what somebody wants to look at
			all = all[1:]
		}
	}
	if sc.broker != nil && !o.GatewayOnly {
		all = append(all, sc.broker.baselines(o.Simulator)...)
	}
	if sc.peers && !o.GatewayOnly {
		for _, p := range o.Peers {
			if p.Compression == "" {
				p.Compression = sc.compressions[0]
			}
			all = append(all, p)
		}
	}
	return all
}

// outcome is what came of a measurement.
type outcome struct {
	run               report.Run
	err               error
	peer, compression string
}

// together returns how many subjects are measured at the same time.
func (s *scenario) together() int {
	if s.observed {
		return 2
	}
	return 1
}

// compare notes by how many percent an event took more CPU than in the run beside it.
func compare(alone, observed *report.Run) {
	if alone.Failure != "" || observed.Failure != "" {
		return
	}
	cost := func(r *report.Run) float64 { return (r.User + r.System) / float64(r.Events) }
	observed.Figures["percent_more_cpu"] = 100 * (cost(observed)/cost(alone) - 1)
}
