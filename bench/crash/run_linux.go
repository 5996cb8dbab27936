// This file is a run: the rounds, and the end.

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/bench/sim"
	"sluice/wire"
)

// points are the names of internal/failpoint.Hit.
var points = []string{"publish", "acknowledge", "written", "store", "store.rename", "store.renamed", "spool", "drain"}

const (
	longestLife = 600 * time.Millisecond
	// patience bounds each wait at the end.
	patience = 2 * time.Minute
)

// run is what a run has.
type run struct {
	o      Options
	dir    string
	srv    *sim.Server
	outlet outlet
	env    []string
	tune   func(*sim.Options) // nil: they stay
}

// Run kills the gateway, and returns what came of it. The error is of what kept it from
// being found out.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Shards == 0 {
		o.Shards = 4
	}
	if o.Rate == 0 {
		o.Rate = 250
	}
	dir, err := os.MkdirTemp("", "gateway-crash-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	r := &run{o: o, dir: dir}
	if err := r.start(); err != nil {
		return Result{}, fmt.Errorf("crash: %w", err)
	}
	defer r.srv.Close()
	defer r.outlet.stop()
	kills := 0
	for round := 0; kills < o.Kills; round++ {
		killed, err := r.round(ctx, round)
		if err != nil {
			return Result{}, fmt.Errorf("crash: round %d of seed %d: %w", round, o.Seed, err)
		}
		if killed {
			kills++
		}
	}
	if err := r.restart(ctx); err != nil {
		return Result{}, fmt.Errorf("crash: restarts of seed %d: %w", o.Seed, err)
	}
	res, err := r.end(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("crash: the comparison of seed %d: %w", o.Seed, err)
	}
	res.Kills, res.Restarts = kills, o.Restarts
	return res, nil
}

// start starts the simulator and the broker.
func (r *run) start() error {
	so := sim.Options{
		TLS: true, Shards: r.o.Shards, MaxConcurrency: r.o.Shards, IdentifyWindow: time.Millisecond, IdentifyTotal: 1 << 30, RESTLimit: 1 << 20,
		ReadyDelay: 20 * time.Millisecond, InvalidSessionDelay: time.Millisecond,
		Rate: r.o.Rate, ReplayLimit: 1 << 20, Seed: r.o.Seed, LargeEvery: -1, LogLimit: 1 << 20,
		LoneSurrogates: true, Undocumented: true,
	}
	if r.tune != nil {
		r.tune(&so)
	}
	var err error
	if r.srv, err = sim.New(so); err != nil {
		return err
	}
	ca := filepath.Join(r.dir, "ca.pem")
	if err = os.WriteFile(ca, r.srv.CertPEM(), 0o600); err == nil {
		broker := filepath.Join(r.dir, "broker")
		if err = os.Mkdir(broker, 0o700); err == nil {
			r.outlet, err = outlets()[r.o.Sink](broker)
		}
	}
	if err != nil {
		r.srv.Close()
		return err
	}
	protocol, host, _ := strings.Cut(strings.TrimSuffix(r.srv.APIURL(), "/api/v10"), "://")
	r.env = append([]string{
		"DISCORD_TOKEN=sim-token", "DISCORD_API_PROTOCOL=" + protocol, "DISCORD_API_HOST=" + host, "DISCORD_API_CA_FILE=" + ca,
		"DISCORD_SHARD_IDENTIFY_RESERVE=0", "LOG_FORMAT=text", "SHARD_STORE_TYPE=" + r.o.Store, "SHARD_STORE_DIRECTORY=" + filepath.Join(r.dir, "state"),
		"BROKER_DEAD_LETTERS=" + filepath.Join(r.dir, "dead-letters.jsonl"),
	}, r.outlet.env()...)
	if r.o.Spool {
		r.env = append(r.env, "SPOOL_DIRECTORY="+filepath.Join(r.dir, "spool"), "BROKER_BUFFER=1MiB")
	}
	return nil
}

// gateway is a process of the gateway.
type gateway struct {
	cmd    *exec.Cmd
	stderr output
	ended  chan error
}

// output is what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// Bytes returns what there is so far. Nobody changes it.
func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Bytes()
}

// launch starts the gateway, to end at the failpoint, if any.
func (r *run) launch(failpoint string) (*gateway, error) {
	g := &gateway{cmd: exec.Command(r.o.Gateway), ended: make(chan error, 1)}
	g.cmd.Dir = r.dir
	g.cmd.Env = append([]string{"FAILPOINT=" + failpoint}, r.env...)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g.cmd.Stderr = &g.stderr
	out, err := r.outlet.output()
	if err != nil {
		return nil, err
	}
	if out != nil {
		defer out.Close()
		g.cmd.Stdout = out
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { g.ended <- g.cmd.Wait() }()
	return g, nil
}

// finished waits for the end, and returns an error unless it is one of a kill or, with end
// true, of an orderly way out.
func (g *gateway) finished(end bool) (killed bool, err error) {
	select {
	case <-g.ended:
	case <-time.After(patience):
		g.cmd.Process.Kill()
		return false, errors.New("the gateway does not end")
	}
	status := g.cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	// SIGTERM has its own effect until the gateway asks for it.
	if killed || end && (status.Exited() && status.ExitStatus() == 0 || status.Signaled() && status.Signal() == syscall.SIGTERM) {
		return killed, nil
	}
	return false, fmt.Errorf("the gateway ended by itself: %v\n%s", g.cmd.ProcessState, tail(g.stderr.Bytes()))
}

func tail(text []byte) []byte { return text[max(0, len(text)-4000):] }

// round starts the gateway and ends it. What happens when comes from the seed alone.
func (r *run) round(ctx context.Context, round int) (killed bool, err error) {
	rng := rand.New(rand.NewPCG(r.o.Seed, uint64(round)))
	life := time.Duration(rng.Int64N(int64(longestLife)))
	starting := rng.IntN(5) == 0
	if starting {
		life /= 8
	}
	point, ends := "", rng.IntN(10) == 0
	if rng.IntN(3) == 0 {
		name, nth := points[rng.IntN(len(points))], 1+rng.IntN(20)*rng.IntN(20)
		if strings.HasPrefix(name, "store.") {
			nth = 1 // they are seldom come by
		}
		point = fmt.Sprintf("%s:%d", name, nth)
		ends = ends || strings.HasPrefix(point, "drain")
		if ends {
			point = "drain:1"
		}
	}
	var during sync.WaitGroup
	defer during.Wait()
	what := "killed"
	if rng.IntN(8) == 0 {
		what += ", sessions expired"
		r.srv.Expire(rng.IntN(r.o.Shards))
	}
	if r.o.Spool {
		life *= 3
		if rng.IntN(2) == 0 {
			what += ", without the broker"
			back, err := r.outlet.away()
			if err != nil {
				return false, err
			}
			defer func() { err0 := back(); err = errors.Join(err, err0) }()
		}
	}
	g, err := r.launch(point)
	if err != nil {
		return false, err
	}
	if !starting {
		// On a busy machine, all lives would be over before the first event.
		if err := r.connected(ctx, g); err != nil {
			return false, err
		}
	}
	var faulty error
	if r.o.Faults {
		fault, wait := r.fault(rng, g), time.Duration(rng.Int64N(int64(longestLife)))
		what += ", " + fault.name
		during.Go(func() {
			time.Sleep(wait)
			faulty = fault.do()
		})
	}
	select {
	case err := <-g.ended:
		g.ended <- err
		what = "ended at " + point + strings.TrimPrefix(what, "killed")
	case <-time.After(life):
		if ends {
			what = "ended with SIGTERM" + strings.TrimPrefix(what, "killed")
			g.cmd.Process.Signal(syscall.SIGTERM)
			if rng.IntN(2) == 0 && point == "" { // in the middle of it
				time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Millisecond))))
				g.cmd.Process.Kill()
			}
		} else {
			g.cmd.Process.Kill()
		}
	case <-ctx.Done():
		g.cmd.Process.Kill()
	}
	killed, err = g.finished(ends)
	during.Wait()
	if err = errors.Join(err, faulty, ctx.Err()); err != nil {
		return killed, err
	}
	s := r.srv.Ledger().Summary()
	arrived := 0
	r.outlet.look(func(a *arrivals) { arrived = len(a.events) })
	r.say("round %d: %s after %v; sent %d, arrived %d, identifies %d, resumed %d",
		round, what, life.Round(time.Millisecond), s.Events, arrived, s.Identifies, s.Resumed)
	return killed, nil
}

// connected waits until a shard is connected, or the gateway has ended.
func (r *run) connected(ctx context.Context, g *gateway) error {
	for end := time.Now().Add(patience); r.srv.Connected() == 0 && time.Now().Before(end); {
		select {
		case err := <-g.ended:
			g.ended <- err
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// restart ends the gateway in an orderly way, again and again, and by turns has it hand over to
// itself.
func (r *run) restart(ctx context.Context) error {
	var g *gateway
	for n := range r.o.Restarts {
		var err error
		if g == nil {
			if g, err = r.launch(""); err != nil {
				return err
			}
		}
		resumed := r.srv.Ledger().Summary().Resumed
		if err = r.wait(ctx, g, "the shards", func() bool { return r.srv.Connected() == r.o.Shards && r.report().Pending < int(r.o.Rate)*r.o.Shards }); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		what := "upgraded"
		if n%2 == 1 {
			g.cmd.Process.Signal(syscall.SIGUSR2)
			err = r.wait(ctx, g, "the successor", func() bool { return r.srv.Ledger().Summary().Resumed >= resumed+r.o.Shards })
		} else {
			what = "restarted"
			g.cmd.Process.Signal(syscall.SIGTERM)
			_, err = g.finished(true)
			g = nil
		}
		if err != nil {
			return err
		}
		r.outlet.look(func(a *arrivals) {
			r.say("%s: %d events, %d repeated, longest pause of a shard so far %v", what, len(a.events), a.again, a.pause.Round(time.Millisecond))
		})
	}
	if g == nil {
		return nil
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	_, err := g.finished(true)
	return err
}

// fault is something that goes wrong besides.
type fault struct {
	name string
	do   func() error
}

// fault chooses one.
func (r *run) fault(rng *rand.Rand, g *gateway) fault {
	shard := rng.IntN(r.o.Shards)
	pause := time.Duration(rng.Int64N(int64(500 * time.Millisecond)))
	on := func(f func()) func() error { return func() error { f(); return nil } }
	switch rng.IntN(9) {
	case 0:
		return fault{"socket cut", on(func() { r.srv.Cut(shard, rng.IntN(2) == 0) })}
	case 1:
		return fault{"op 7", on(func() { r.srv.Reconnect(shard) })}
	case 2:
		return fault{"op 9", on(func() { r.srv.InvalidSession(shard, false) })}
	case 3:
		return fault{"op 9 resumable", on(func() { r.srv.InvalidSession(shard, true) })}
	case 4:
		return fault{"close 4007", on(func() { r.srv.CloseShard(shard, wire.CloseInvalidSeq, "") })}
	case 5:
		return fault{"half-open socket", on(func() { r.srv.Blackhole(shard) })}
	case 6:
		return fault{"replay buffer overrun", on(func() { r.srv.Overrun(shard) })}
	case 7: // time passes that the process does not see pass
		return fault{"stopped for a moment", on(func() {
			g.cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(pause)
			g.cmd.Process.Signal(syscall.SIGCONT)
		})}
	}
	return fault{"broker killed", func() error { return r.outlet.kill(pause) }}
}

// end lets the gateway come to rest, and compares.
func (r *run) end(ctx context.Context) (Result, error) {
	r.srv.Calm()
	g, err := r.launch("")
	if err != nil {
		return Result{}, err
	}
	defer g.cmd.Process.Kill()
	err = r.wait(ctx, g, "the shards", func() bool {
		report := r.report()
		last := make(map[int]sim.SessionReport)
		for _, s := range report.Sessions {
			last[s.Shard] = s
		}
		for _, s := range last {
			if s.Received == 0 || s.End != sim.EndNone {
				return false
			}
		}
		return r.srv.Connected() == r.o.Shards && len(last) == r.o.Shards
	})
	if err != nil {
		return Result{}, err
	}
	r.srv.Silence()
	if err := r.wait(ctx, g, "the last events", func() bool { return r.report().Pending == 0 }); err != nil {
		return Result{}, err
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	if _, err := g.finished(true); err != nil {
		return Result{}, err
	}
	time.Sleep(200 * time.Millisecond) // for what comes twice
	var res Result
	r.outlet.look(func(a *arrivals) {
		res = compare(r.srv.Ledger(), a, deduplicates(r.o.Sink))
		res.Pause = a.pause
	})
	return res, nil
}

func (r *run) say(format string, args ...any) {
	if r.o.Log != nil {
		fmt.Fprintf(r.o.Log, format+"\n", args...)
	}
}

func (r *run) report() (report sim.Report) {
	r.outlet.look(func(a *arrivals) { report = r.srv.Ledger().Check(a.events) })
	return report
}

// wait waits until the condition holds, while the gateway runs.
func (r *run) wait(ctx context.Context, g *gateway, what string, holds func() bool) error {
	for end := time.Now().Add(patience); !holds(); {
		select {
		case err := <-g.ended:
			g.ended <- err
			return fmt.Errorf("the gateway ended: %v\n%s", g.cmd.ProcessState, tail(g.stderr.Bytes()))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited in vain for %s: %v\n%v\n%s", what, r.srv.Ledger().Summary(), r.report(), tail(g.stderr.Bytes()))
		}
	}
	return nil
}
