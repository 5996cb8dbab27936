// This file is "gateway-bench sim": the simulated Discord as a program.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/bench/sim"
	"sluice/wire"
)

// simFlags are the flags that are not fields of sim.Options.
type simFlags struct {
	listen      string
	ca          string
	script      string
	kinds       string
	denied      uint64
	compression string
	record      int
	verbose     bool
}

// simFlagSet declares the flags of "sim" on the fields they set.
func simFlagSet(o *sim.Options, f *simFlags, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("gateway-bench sim", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: gateway-bench sim [flags]\n\nRuns a simulated Discord until it is interrupted, and then says what happened.\n\nFlags:")
		fs.PrintDefaults()
	}
	fs.StringVar(&f.listen, "listen", "127.0.0.1:0", "`address` of the REST listener; the gateway and the resume host take the next two ports,\nor any three free ones with port 0")
	fs.BoolVar(&o.TLS, "tls", true, "serve https and wss, with a certificate made at start")
	fs.StringVar(&f.ca, "ca", "", "`file` to write the certificate of the authority to, for clients to trust\n(default: one in the directory for temporary files)")
	fs.StringVar(&o.Token, "token", "sim-token", "the bot's token; some libraries read an id from its first part, in base64")
	fs.Uint64Var(&o.Seed, "seed", 1, "of everything random")
	fs.IntVar(&o.Shards, "shards", 1, "recommended number of shards")
	fs.IntVar(&o.MaxConcurrency, "max-concurrency", 1, "Identify buckets")
	fs.DurationVar(&o.IdentifyWindow, "identify-window", 5*time.Second, "how long a bucket stays taken")
	fs.IntVar(&o.IdentifyTotal, "identify-total", 1000, "Identifies in a day; one more resets the token")
	fs.DurationVar(&o.HeartbeatInterval, "heartbeat", 41250*time.Millisecond, "heartbeat interval")
	fs.DurationVar(&o.AskHeartbeatEvery, "ask-heartbeat", 0, "send op 1 that often; 0 never")
	fs.DurationVar(&o.SessionTTL, "session-ttl", 2*time.Minute, "life of a session without a connection")
	fs.IntVar(&o.ReplayLimit, "replay", 0, "events kept for a Resume (default max(100, min(3500, 75 x guilds)))")
	fs.DurationVar(&o.ReconnectEvery, "reconnect", 0, "send op 7 to connections of that age; 0 never")
	fs.IntVar(&o.Guilds, "guilds", 3, "guilds per recommended shard; -1 for none")
	fs.IntVar(&o.GuildMembers, "members", 8, "members of an ordinary guild")
	fs.IntVar(&o.LargeEvery, "large-every", 16, "every so manieth guild is large; -1 for none")
	fs.IntVar(&o.LargeBytes, "large-bytes", 384<<10, "size of a large guild's GUILD_CREATE in bytes")
	fs.BoolVar(&o.LoneSurrogates, "lone-surrogates", false, "halves of surrogate pairs in every guild and in some messages: serde_json and orjson\ntake no payload with one")
	fs.BoolVar(&o.Undocumented, "undocumented", false, "now and then events that no documentation has, one with an array as its d")
	fs.IntVar(&o.MaxPayload, "max-payload", 4096, "largest message of a client in bytes")
	fs.IntVar(&o.SendLimit, "send-limit", 120, "messages of a client in 60 s")
	fs.BoolVar(&o.Common, "common", false, "sessions of several shard counts get the same events of a guild, as for gateway reshard; -rate\nis then that of each recommended shard")
	fs.Float64Var(&o.Rate, "rate", 5, "events per second and shard; negative: as many as the client reads")
	fs.BoolVar(&o.Stored, "stored", false, "compress nothing: stored blocks, for thousands of shards")
	fs.IntVar(&f.record, "record", 0, "play a recording of so many events, compressed beforehand, instead of guilds and traffic")
	fs.StringVar(&f.compression, "record-compress", "zstd-stream", "compression of the recording: zstd-stream, zlib-stream or none")
	fs.Uint64Var(&f.denied, "deny-intents", 0, "intents answered by 4014, as a number")
	fs.IntVar(&o.ShardMultiple, "shard-multiple", 1, "what a shard count must be a multiple of (4010)")
	fs.StringVar(&f.script, "script", "", "`file` of faults, one a line, such as:\nwhen=events n=100 shards=0 do=close code=4000"+scriptNames())
	fs.Uint64Var(&o.Faults.Seed, "fault-seed", 1, "of the random faults")
	fs.IntVar(&o.Faults.EveryEvents, "fault-events", 0, "mean number of events on a connection before a random fault; 0 for none")
	fs.DurationVar(&o.Faults.EveryPeriod, "fault-every", 0, "mean time between random faults of a connection; 0 for none")
	fs.Float64Var(&o.Faults.Early, "fault-early", 0, "part of connections, 0 to 1, that fail before READY or RESUMED")
	fs.StringVar(&f.kinds, "fault-kinds", "", "comma list of the random faults' kinds (default: all but invalid-session)")
	fs.BoolVar(&f.verbose, "v", false, "log REST calls, connections, Identifies, Resumes, commands, heartbeats, closes and faults to standard error")
	return fs
}

// scriptNames lists what a script can name, on lines of a usual length.
func scriptNames() string {
	var b strings.Builder
	list := func(key string, names []string) {
		line := 0
		for i, name := range names {
			if i == 0 || line+len(name) > 90 {
				b.WriteString("\n" + key)
				line, key = 0, "    "
			}
			line += len(name) + 1
			b.WriteString(" " + name)
		}
	}
	when, do := sim.ScriptNames()
	list("when:", when)
	list("do:", do)
	return b.String()
}

func runSim(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o sim.Options
	var f simFlags
	fs := simFlagSet(&o, &f, stderr)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if fs.NArg() > 0 {
		return usageError{fmt.Errorf("no arguments are taken, got %q", fs.Args())}
	}
	if err := f.apply(&o, stderr); err != nil {
		return usageError{err}
	}
	srv, err := sim.New(o)
	if err != nil {
		return err
	}
	defer srv.Close()
	ca, err := writeCA(srv, f.ca)
	if err != nil {
		return err
	}
	if f.ca == "" && ca != "" {
		defer os.RemoveAll(filepath.Dir(ca))
	}
	describe(stdout, srv, o.Token, ca)
	<-ctx.Done()
	srv.Close()
	_, err = fmt.Fprintln(stdout, srv.Ledger().Summary())
	return err
}

// apply sets the options that need more than a flag.
func (f *simFlags) apply(o *sim.Options, stderr io.Writer) error {
	host, port, err := net.SplitHostPort(f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	base, err := strconv.Atoi(port)
	if err != nil || base < 0 || base > 65533 {
		return fmt.Errorf("listen: port %q", port)
	}
	o.Listen = func(role string) (net.Listener, error) {
		n := base
		if n != 0 {
			n += map[string]int{sim.RoleAPI: 0, sim.RoleGateway: 1, sim.RoleResume: 2}[role]
		}
		return net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(n)))
	}
	o.DeniedIntents = wire.Intents(f.denied)
	if f.verbose {
		o.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if f.kinds != "" {
		for name := range strings.SplitSeq(f.kinds, ",") {
			k, err := sim.ParseKind(strings.TrimSpace(name))
			if err != nil {
				return fmt.Errorf("fault-kinds: %w", err)
			}
			o.Faults.Kinds |= sim.Kinds(k)
		}
	}
	if f.script != "" {
		in, err := os.Open(f.script)
		if err != nil {
			return err
		}
		defer in.Close()
		if o.Faults.Script, err = sim.ParseScript(in); err != nil {
			return err
		}
	}
	if f.record > 0 {
		compress := f.compression
		if compress == "none" {
			compress = ""
		}
		rec, err := sim.Record(f.record, compress)
		if err != nil {
			return err
		}
		o.Recording = rec
	}
	return nil
}

// writeCA writes the authority's certificate and returns its path, "" without TLS.
func writeCA(srv *sim.Server, path string) (string, error) {
	pem := srv.CertPEM()
	if pem == nil {
		return "", nil
	}
	if path == "" {
		dir, err := os.MkdirTemp("", "gateway-bench-")
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, "ca.pem")
	}
	return path, os.WriteFile(path, pem, 0o644)
}

// describe says where everything is and how to get there.
func describe(w io.Writer, srv *sim.Server, token, ca string) {
	fmt.Fprintln(w, "api", srv.APIURL())
	fmt.Fprintln(w, "gateway", srv.GatewayURL())
	fmt.Fprintln(w, "resume", srv.ResumeURL())
	protocol, host, _ := strings.Cut(strings.TrimSuffix(srv.APIURL(), "/api/v10"), "://")
	env := fmt.Sprintf("DISCORD_TOKEN=%s DISCORD_API_PROTOCOL=%s DISCORD_API_HOST=%s", token, protocol, host)
	if ca != "" {
		fmt.Fprintln(w, "ca", ca)
		env += " DISCORD_API_CA_FILE=" + ca
	}
	fmt.Fprintln(w, "# this repository's gateway:", env, "gateway")
	if ca != "" {
		fmt.Fprintln(w, "# a bot in Go or Python: SSL_CERT_FILE="+ca+"; in Node.js: NODE_EXTRA_CA_CERTS="+ca)
	}
	fmt.Fprintln(w, "# and the api line in place of https://discord.com/api/v10")
}
