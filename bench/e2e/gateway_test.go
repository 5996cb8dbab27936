// This file tests the gateway as a program.

package e2e

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/wire"
)

// terminate sends the signal that ends a service.
func (p *program) terminate() {
	p.t.Helper()
	if runtime.GOOS == "windows" {
		p.t.Skip("Windows has no SIGTERM to send")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

const floodShards = 8

// flood starts a simulated Discord that sends floodEvents to each of 8 shards as
// fast as they are read.
func flood(t *testing.T, compression string) *sim.Server {
	t.Helper()
	rec, err := sim.Record(floodEvents, strings.TrimPrefix(compression, "none"))
	if err != nil {
		t.Fatal(err)
	}
	return startSim(t, sim.Options{TLS: true, Shards: floodShards, IdentifyWindow: time.Millisecond,
		Recording: rec, Rate: -1, Seed: 1})
}

func TestGateway(t *testing.T) {
	name := buildGateway(t)
	for r, reader := range readers() {
		run := func(test string, f func(*testing.T, setup)) {
			t.Run(reader+"/"+test, func(t *testing.T) {
				t.Parallel()
				f(t, setup{name: name, reader: reader})
			})
		}
		for n, compression := range []string{"zstd-stream", "zlib-stream", "zlib-payload", "none"} {
			turn := everyReader || n%len(readers()) == r // each compression is one reader's; Whole is every one's
			with := func(f func(*testing.T, setup)) func(*testing.T, setup) {
				return func(t *testing.T, g setup) {
					g.compression = compression
					f(t, g)
				}
			}
			if compression != "zlib-payload" { // there is no recording of it
				run("Whole/"+compression, with(testWhole))
			}
			if turn {
				if compression != "zlib-payload" {
					run("Stop/"+compression, with(testStop))
				}
				run("Sizes/"+compression, with(testSizes))
			}
		}
		run("ClosedPipe", testClosedPipe)
		run("StuckPipe", testStuckPipe)
		run("Stall", testStall)
		run("SecondSignal", testSecondSignal)
		run("Commands", testCommands)
		run("Fatal", testFatal)
	}
}

// readers returns the values of reader.type for this system.
func readers() []string {
	if runtime.GOOS == "linux" {
		return []string{"goroutine", "epoll"}
	}
	return []string{"goroutine"}
}

// The events of 8 shards arrive once, in order, byte for byte.
func testWhole(t *testing.T, g setup) {
	srv := flood(t, g.compression)
	p := startGateway(t, g, srv)
	const want = floodShards * (floodEvents + 1) // with READY
	received := p.read(func(n int, _ line) bool { return n < want })
	report := srv.Ledger().Check(received)
	if report.Received != want || report.Lost+report.Repeated+report.OutOfOrder+report.Unknown+report.Abandoned+report.Pending > 0 {
		t.Errorf("%v", report)
	}
	if s := srv.Ledger().Summary(); s.Connects != floodShards {
		t.Errorf("%v", s)
	}
	p.terminate()
	p.exit(0)
}

// Messages around the size of a zstd block and of megabytes, and many tiny
// ones in one burst.
func testSizes(t *testing.T, g setup) {
	srv := startSim(t, sim.Options{TLS: true, Shards: 1, Guilds: -1})
	p := startGateway(t, g, srv)
	const burst = burstOfEvents
	sizes := []int{128<<10 - 1, 128 << 10, 128<<10 + 1, 8 << 20}
	received := p.read(func(n int, l line) bool {
		if l.Event == "READY" {
			for _, size := range sizes {
				// Not so alike that it compresses to nothing.
				text := make([]byte, size)
				for i := range text {
					text[i] = 'a' + byte(i*i>>7%26)
				}
				text[0], text[size-1] = '"', '"'
				srv.Dispatch(0, "LARGE", text)
			}
			srv.Burst(0, burst)
		}
		return n < 1+len(sizes)+burst
	})
	if r := srv.Ledger().Check(received); r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("%v", r)
	}
	if s := srv.Ledger().Summary(); s.Connects != 1 {
		t.Errorf("%v", s)
	}
	p.terminate()
	p.exit(0)
}

// SIGTERM in the middle of a flood ends the program with whole lines, and a
// second run works.
func testStop(t *testing.T, g setup) {
	srv := flood(t, g.compression)
	var all []sim.Received
	for range 2 {
		// With little room, the gateway is not far ahead of what is read here.
		p := startGateway(t, g, srv, "BROKER_BUFFER=1MiB")
		received := p.read(func(n int, _ line) bool {
			if n == floodShards*floodEvents/4 {
				p.terminate()
			}
			return true
		})
		p.exit(0)
		if n := len(received); n < floodShards*floodEvents/4 || n >= floodShards*floodEvents {
			t.Errorf("%d events: not in the middle", n)
		}
		all = append(all, received...)
	}
	if r := srv.Ledger().Check(all); r.Lost+r.Repeated+r.OutOfOrder+r.Unknown > 0 {
		t.Errorf("%v", r)
	}
	keepsSessions(t, srv)
}

// The reader of standard output goes away: that is a failure, which one line tells, and
// the sessions are kept.
func testClosedPipe(t *testing.T, g setup) {
	srv := startSim(t, sim.Options{TLS: true, Shards: 4, Rate: 100})
	p := startGateway(t, g, srv)
	p.read(func(n int, _ line) bool { return n < 50 })
	p.stdout.Close()
	p.exit(1)
	log := strings.Split(p.stderr.tail(), "\n")
	if last := log[len(log)-1]; !strings.Contains(last, "ERROR") || !strings.Contains(last, "closed by its reader") {
		t.Errorf("the last line of the log is %s", last)
	}
	keepsSessions(t, srv)
}

// keepsSessions checks that the gateway left so that Discord keeps its sessions.
func keepsSessions(t *testing.T, srv *sim.Server) {
	t.Helper()
	for _, c := range srv.Ledger().Closes() {
		if c.FromClient && c.Session != "" && c.Code != wire.CloseKeepSession {
			t.Errorf("shard %d was closed with %d", c.Shard, c.Code)
		}
	}
	if s := srv.Ledger().Summary(); s.Sessions == 0 || s.Alive != s.Sessions {
		t.Errorf("%v", s)
	}
}

// Nobody reads standard output any more, but it stays open: the way out is
// bounded.
func testStuckPipe(t *testing.T, g setup) {
	srv := flood(t, "zstd-stream")
	p := startGateway(t, g, srv, "SHUTDOWN_TIMEOUT=1s")
	p.read(func(n int, _ line) bool { return n < 1000 })
	p.terminate()
	p.exit(1)
	if log := p.stderr.tail(); !strings.Contains(log, "shutdown_timeout") {
		t.Errorf("the log does not name the setting:\n%s", log)
	}
	keepsSessions(t, srv)
}

func testSecondSignal(t *testing.T, g setup) {
	srv := flood(t, "zstd-stream")
	p := startGateway(t, g, srv, "SHUTDOWN_TIMEOUT=1h")
	p.read(func(n int, _ line) bool { return n < 1000 })
	p.terminate()
	waitFor(t, "end of the connections", func() bool { return srv.Connected() == 0 })
	p.terminate()
	p.exit(-1)
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", p.cmd.ProcessState)
	}
}

// Commands that are there before the gateway has even asked for its address are
// sent once it is ready. A bad one changes nothing.
func testCommands(t *testing.T, g setup) {
	srv := startSim(t, sim.Options{TLS: true, Shards: 2})
	p := startGateway(t, g, srv, "DISCORD_EVENTS=READY")
	fmt.Fprintln(p.stdin, `{"shard":1,"packet":{"op":31,"d":{"guild_ids":["4194305"]}}}`)
	fmt.Fprintln(p.stdin, `{"shard":1,"packet":`)
	fmt.Fprintln(p.stdin, `{"guild_id":"4194304","packet":{"op":31,"d":{"guild_ids":["4194306"]}}}`)
	fmt.Fprintln(p.stdin, `{"event":"0","data":{"op":31,"d":{"guild_ids":["3"]}}}`)
	fmt.Fprintln(p.stdin, `{"event":"SEND","data":{"guild_id":"8388608","packet":{"op":31,"d":{"guild_ids":["4"]}}}}`)
	p.stdin.Close()
	sent := func() map[string]int {
		shards := map[string]int{}
		for _, c := range srv.Ledger().Commands() {
			if c.Op == wire.OpRequestSoundboardSounds {
				shards[string(c.Raw)] = c.Shard
			}
		}
		return shards
	}
	waitFor(t, "commands", func() bool { return len(sent()) == 4 })
	for i, shard := range []int{1, 1, 0, 0} {
		raw := fmt.Sprintf(`{"op":31,"d":{"guild_ids":["%d"]}}`, shard<<22+i+1)
		if got, ok := sent()[raw]; !ok || got != shard {
			t.Errorf("%s went to shard %d, want %d", raw, got, shard)
		}
	}
	if n := strings.Count(p.stderr.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one for the bad line", n)
	}
	p.terminate()
	p.exit(0)
}

// What Discord says for good ends the program with a code of its own and one
// line.
func testFatal(t *testing.T, g setup) {
	for _, tt := range []struct {
		sim  sim.Options
		env  []string
		exit int
		says string
	}{
		{sim.Options{Token: "another"}, nil, 4, "DISCORD_TOKEN"},
		{sim.Options{DeniedIntents: 1 << 15}, []string{"DISCORD_INTENTS=GUILDS,MESSAGE_CONTENT"}, 14,
			"the privileged intents MESSAGE_CONTENT are not all switched on for this bot; switch them on at https://discord.com/developers/applications"},
		{sim.Options{ShardMultiple: 3}, []string{"DISCORD_SHARD_COUNT=2"}, 10, "shards.count"},
	} {
		tt.sim.TLS, tt.sim.Shards = true, 2
		srv := startSim(t, tt.sim)
		p := startGateway(t, g, srv, tt.env...)
		p.exit(tt.exit)
		lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, "level=ERROR") || !strings.Contains(last, tt.says) {
			t.Errorf("exit code %d: the last line of the log is\n%s", tt.exit, last)
		}
		if strings.Contains(p.stderr.String(), "sim-token") {
			t.Error("the token is in the log")
		}
	}
}
