// This file is `gateway demo`: the gateway against a simulated Discord in the
// same process, with faults, and a count of what was lost.

package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"sluice/bench/sim"
	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/tap"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/stdio"
	"sluice/wire"
)

const (
	demoShards    = 4 // unless it is said otherwise
	maxDemoShards = 20_000
	// demoRate is of events a second and shard, and demoTotal bounds those of all shards: the demo
	// keeps what it compares at its end.
	demoRate, demoTotal = 5, 500
	// demoSettle bounds how long the end of the demo waits for what the
	// simulated Discord has still to send again.
	demoSettle = 20 * time.Second
)

// demoFaults are the kinds of trouble that the demo's Discord makes: those that
// a session survives, but for the ones that take a minute to get over.
var demoFaults = sim.AllKinds &^ sim.Kinds(sim.InvalidSession, sim.SlowReady, sim.SilentDial,
	sim.RateLimitJSON, sim.RateLimitHTML, sim.ServerError)

// demo runs the gateway against a simulated Discord and returns the exit code.
func demo(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("gateway demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	// What they are says the help's topic.
	length := flags.Duration("for", 0, "")
	seed := flags.Uint64("seed", 1, "")
	rate := flags.Float64("rate", -1, "")
	shards := flags.Int("shards", demoShards, "")
	address := flags.String("address", "127.0.0.1:0", "")
	compression := flags.String("compression", "zstd-stream", "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return help([]string{"demo"}, stdout, stderr)
	} else if err != nil {
		fmt.Fprintf(stderr, "gateway demo: %s; see gateway demo -h\n", config.RedactArgument(err.Error()))
		return exitUsage
	}
	c, ok := wire.ParseCompression(*compression)
	if flags.NArg() > 0 || !ok {
		fmt.Fprintf(stderr, "gateway demo: %s is not understood; see gateway demo -h\n", config.RedactArgument(fmt.Sprintf("%q", append(flags.Args(), *compression))))
		return exitUsage
	}
	if *shards < 1 || *shards > maxDemoShards {
		fmt.Fprintf(stderr, "gateway demo: -shards %d is not between 1 and %d; see gateway demo -h\n", *shards, maxDemoShards)
		return exitUsage
	}
	if *rate < 0 {
		*rate = min(demoRate, demoTotal/float64(*shards))
	}
	if *length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *length)
		defer cancel()
	}
	signal.Ignore(syscall.SIGPIPE) // as in run
	d := newDisplay(stdout, stderr)
	level, logs := new(slog.LevelVar), new(page.Logs)
	log, out := openLog(config.LogConfig{Format: config.LogText}, level, nil, d.log, logs)
	defer out.Close()
	err := runDemo(ctx, demoOptions(*shards, *seed, *rate), c, d, out, log, &demoPage{*address, level, logs})
	out.Flush() // so that there is room for the last line
	if stdio.IsClosedPipe(err) {
		err = nil
	}
	return exitCode(err, log)
}

// demoOptions are the simulated Discord's: impatient, so that there is
// something to see within a minute. Of many shards one has a fault about each second.
func demoOptions(shards int, seed uint64, rate float64) sim.Options {
	o := sim.Options{
		Shards:            shards,
		MaxConcurrency:    shards,
		IdentifyTotal:     max(1000, 2*shards),
		HeartbeatInterval: 5 * time.Second,
		HeartbeatGrace:    5 * time.Second,
		ReplayLimit:       100_000,
		LargeEvery:        -1,
		Rate:              rate,
		Seed:              seed,
		TLS:               true,
	}
	// The handshakes and heartbeats of many share the machine with the demo's Discord. A shard that a fault stalls is
	// noticed after both.
	switch {
	case shards > 1000:
		o.HeartbeatInterval, o.HeartbeatGrace = 20*time.Second, 20*time.Second
	case shards > 100:
		o.HeartbeatInterval, o.HeartbeatGrace = 10*time.Second, 10*time.Second
	}
	if seed != 0 {
		period := time.Duration(max(20, shards)) * time.Second
		o.Faults = sim.Faults{Seed: seed, EveryPeriod: period, Early: 0.1, Kinds: demoFaults}
	}
	return o
}

// demoSink is a sink that remembers what went through it.
type demoSink struct {
	sinks.Sink
	mu       sync.Mutex
	received []sim.Received
}

func (d *demoSink) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	return d.Sink.Publish(ctx, batch, func(n int) {
		d.mu.Lock()
		for i := range batch[:n] {
			ev := &batch[i]
			d.received = append(d.received, sim.Received{
				Shard: ev.Shard, Session: ev.Session, Seq: ev.Seq, Type: string(ev.Type), Hash: sim.Hash(ev.Data),
			})
		}
		d.mu.Unlock()
		acked(n)
	})
}

// all returns what went through, which is only read.
func (d *demoSink) all() []sim.Received {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.received
}

// report compares what went through with what the simulated Discord sent.
func (d *demoSink) report(srv *sim.Server) sim.Report { return srv.Ledger().Check(d.all()) }

func runDemo(ctx context.Context, o sim.Options, c wire.Compression, d *display, stderr io.Writer, log *slog.Logger, p *demoPage) error {
	defer d.close()
	srv, err := sim.New(o)
	if err != nil {
		return err
	}
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(srv.CertPEM())
	secure := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport := &http.Transport{TLSClientConfig: secure}
	defer transport.CloseIdleConnections()
	const token = "sim-token"
	sink := &demoSink{Sink: d.events}
	tapped := tap.New(sink)
	e, err := engine.New(engine.Options{
		Token:       token,
		API:         &wire.API{Base: srv.APIURL(), Token: token, UserAgent: userAgent(), Client: &http.Client{Transport: transport}},
		UserAgent:   userAgent(),
		Compression: c,
		Intents:     wire.AllIntents,
		Sink:        tapped,
		TLS:         secure,
		Log:         log,
	})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	served, err := p.serve(running, e, d.events, tapped, log)
	if err != nil {
		return err
	}
	if served != nil {
		defer served.Close()
	}
	fmt.Fprintf(stderr, "A simulated Discord runs at %s. %d shards connect to it over TLS with %s; events follow on standard output.\n"+
		"It cuts, stalls and garbles connections now and then; the gateway resumes. Ctrl-C ends with a count.\n", srv.APIURL(), o.Shards, c)
	if served != nil {
		fmt.Fprintf(stderr, "The gateway's page is at http://%s/ while it runs.\n", served.Addr("http.address"))
	}

	d.start(demoStatus(e, sink, srv, o.Shards, time.Now()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = e.Run(running)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		srv.Calm()
		srv.Silence()
		fmt.Fprintln(stderr, "Ending: waiting for the last events. Ctrl-C again exits at once.")
		settle(sink, srv, ended)
		stop()
		<-ended
	}
	report := sink.report(srv)
	if stdio.IsClosedPipe(err) {
		fmt.Fprintln(stderr, "Standard output was closed by its reader.")
		report.Pending = 0 // nobody waits for it
	}
	fmt.Fprintln(stderr, demoCount(report, e.Status().Counts, srv.Ledger().Summary().Faults))
	return err
}

// demoCount is the demo's last line. What a shard that waited for its next connection at the end would
// have been sent again is not lost: a gateway that stays, or the next one, gets it.
func demoCount(report sim.Report, counts engine.Counts, faults int) string {
	line := fmt.Sprintf("events %d, faults %d, resumes %d, identifies %d, repeated %d, out of order %d, lost %d",
		report.Received, faults, counts.Resumes, counts.Identifies, report.Repeated, report.OutOfOrder, lostOf(report))
	if report.Pending > 0 {
		line += fmt.Sprintf(", not sent again yet %d", report.Pending)
	}
	return line
}

// settle waits until everything that the simulated Discord sent has arrived.
func settle(sink *demoSink, srv *sim.Server, ended <-chan struct{}) {
	deadline := time.After(demoSettle)
	for sink.report(srv).Pending > 0 {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ended:
			return
		case <-deadline:
			return
		}
	}
}
