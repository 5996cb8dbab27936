// This file closes a shard's connection in every way there is, and holds what
// follows against docs/exit-codes.md.

package engine_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/wire"
)

// page returns the lines of docs/exit-codes.md.
func page(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// closeRow is a row of the page's table of close codes.
type closeRow struct {
	code   wire.CloseCode
	action string
}

// closeTable returns the page's table. The row of the codes that it does not
// name counts as 4099's.
func closeTable(t *testing.T) (rows []closeRow) {
	t.Helper()
	row := regexp.MustCompile(`^\| (\d{4}|any other) \| (.*?) \| (.+?) \| (\d*) ?\|$`)
	for _, line := range page(t) {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		r := closeRow{code: 4099, action: m[3]}
		if m[1] != "any other" {
			n, _ := strconv.Atoi(m[1])
			r.code = wire.CloseCode(n)
			if m[2] != r.code.String() {
				t.Errorf("docs/exit-codes.md: code %d means %q, the log says %q", n, m[2], r.code)
			}
		}
		rows = append(rows, r)
	}
	for _, code := range wire.CloseCodes() {
		if !slices.ContainsFunc(rows, func(r closeRow) bool { return r.code == code }) {
			t.Errorf("docs/exit-codes.md: close code %d has no row", code)
		}
	}
	return rows
}

// TestCloseCodes closes with every code of the page's table.
func TestCloseCodes(t *testing.T) {
	for _, row := range closeTable(t) {
		t.Run(fmt.Sprint(uint16(row.code)), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 4}, engine.Options{Intents: 1 << 15})
				w.ready(4)
				w.quiet()
				closeBy := func() {
					if row.code == wire.CloseAbnormal {
						w.srv.Cut(0, false) // there is no such close frame
						return
					}
					w.srv.CloseShard(0, row.code, "")
				}
				before := time.Now()
				closeBy()
				if row.action == "stop" {
					w.wantFatal(row.code)
					return
				}
				w.wait("a new connection", func() bool { return w.engine.Status().Ready == 4 && w.srv.Ledger().Summary().Connects == 5 })
				s := w.srv.Ledger().Summary()
				switch row.action {
				case "resume", "resume, or identify", "resume, after 1 to 5 s at least":
					if s.Resumed != 1 || s.Identifies != 4 {
						t.Errorf("wanted a resume: %v", s)
					}
				case "identify":
					if s.Resumes != 0 || s.Identifies != 5 {
						t.Errorf("wanted an identify: %v", s)
					}
				default:
					t.Fatalf("docs/exit-codes.md: unknown action %q", row.action)
				}
				if strings.Contains(row.action, "1 to 5 s") && time.Since(before) < time.Second {
					t.Errorf("again after %v", time.Since(before))
				}
				if row.action == "resume, or identify" {
					w.srv.AddRules(sim.Rule{When: sim.OnResume, Do: sim.Action{Kind: sim.CloseFrame, Code: row.code}})
					closeBy()
					w.wait("an identify", func() bool { return w.engine.Status().Ready == 4 && w.srv.Ledger().Summary().Identifies == 5 })
				}
				sound(t, w)
				// What the shard answered with ends no session.
				for _, c := range w.srv.Ledger().Closes() {
					if c.FromClient && (c.Code == 1000 || c.Code == 1001) {
						t.Errorf("the shard closed with %d", c.Code)
					}
				}
			})
		})
	}
}

// wantFatal waits for the engine's end by a close code.
func (w *world) wantFatal(code wire.CloseCode) {
	w.t.Helper()
	err := <-w.ended
	var fatal *engine.FatalError
	if !errors.As(err, &fatal) || fatal.Code != code || fatal.Shards != 4 {
		w.t.Errorf("Run = %v, want a FatalError with code %d", err, code)
	}
}

// TestInvalidSession is op 9, both ways.
func TestInvalidSession(t *testing.T) {
	for _, resumable := range []bool{true, false} {
		t.Run(fmt.Sprint(resumable), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Rate: 1}, engine.Options{})
				w.ready(1)
				time.Sleep(time.Minute)
				before := time.Now()
				w.srv.InvalidSession(0, resumable)
				w.wait("a new connection", func() bool { return w.engine.Status().Ready == 1 && w.srv.Ledger().Summary().Connects == 2 })
				if waited := time.Since(before); waited < time.Second {
					t.Errorf("again after %v, want 1 to 5 s at least", waited)
				}
				s := w.srv.Ledger().Summary()
				first := w.srv.Ledger().Closes()[0]
				if resumable && (s.Resumed != 1 || s.Identifies != 1 || first.Code != wire.CloseKeepSession) {
					t.Errorf("wanted a resume: %v, closed with %d", s, first.Code)
				}
				if !resumable && (s.Resumes != 0 || s.Identifies != 2 || first.Code != wire.CloseKeepSession) {
					t.Errorf("wanted an identify: %v, closed with %d", s, first.Code)
				}
				w.srv.Silence()
				whole(t, w.quiet())
			})
		})
	}
}

// TestRefusedBots has Discord refuse the bot for each reason that it has.
func TestRefusedBots(t *testing.T) {
	const guilds = wire.Intents(1)
	tests := []struct {
		name string
		sim  sim.Options
		eng  engine.Options
		own  bool // the gateway's address is in the settings: no REST call comes first
		want engine.FatalError
	}{
		{"wrong token, REST", sim.Options{Token: "other"}, engine.Options{}, false, engine.FatalError{Status: 401}},
		{"wrong token", sim.Options{Token: "other"}, engine.Options{}, true, engine.FatalError{Code: 4004, Shards: 4, Intents: guilds}},
		{"invalid shard", sim.Options{ShardMultiple: 3}, engine.Options{Shards: 4}, false, engine.FatalError{Code: 4010, Shards: 4, Intents: guilds}},
		{"sharding required", sim.Options{Guilds: 2600}, engine.Options{Shards: 4}, false, engine.FatalError{Code: 4011, Shards: 4, Intents: guilds}},
		{"invalid version", sim.Options{}, engine.Options{Version: 5}, false, engine.FatalError{Code: 4012, Shards: 4, Intents: guilds}},
		{"disallowed intents", sim.Options{DeniedIntents: 1 << 15}, engine.Options{Intents: guilds | 1<<15}, false, engine.FatalError{Code: 4014, Shards: 4, Intents: guilds | 1<<15}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				tt.sim.Shards, tt.sim.MaxConcurrency = 4, 4
				eo := tt.eng
				if eo.Intents == 0 {
					eo.Intents = guilds
				}
				if tt.own {
					eo.Shards, eo.GatewayURL = 4, "ws://gateway:80"
				}
				w := newWorld(t, reader, tt.sim, eo)
				err := <-w.ended
				var fatal *engine.FatalError
				// Shards start together: any may be the first to hear it.
				if !errors.As(err, &fatal) || fatal.Status == 0 && fatal.Shard < 0 || fatal.Status != 0 && fatal.Shard != -1 {
					t.Fatalf("Run = %v", err)
				}
				if fatal.Shard = 0; *fatal != tt.want {
					t.Errorf("Run = %+v, want %+v", *fatal, tt.want)
				}
			})
		})
	}
}

// Shards that are refused together end the engine with one error, whatever else
// went wrong on the way out.
func TestFatalAlone(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 4, Rate: 50}, engine.Options{ShutdownTimeout: time.Second})
		w.ready(4)
		w.sink.hold(make(chan struct{})) // nothing is taken any more: ErrDrain, too
		time.Sleep(time.Second)
		for shard := range 4 {
			w.srv.CloseShard(shard, wire.CloseAuthenticationFailed, "")
		}
		err := <-w.ended
		if _, ok := err.(*engine.FatalError); !ok || strings.Contains(err.Error(), "\n") {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestShardIDsBeyondCount(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2}, engine.Options{IDs: []int{1, 5}})
		err := <-w.ended
		var id *engine.ShardIDError
		if !errors.As(err, &id) || *id != (engine.ShardIDError{ID: 5, Shards: 2}) {
			t.Errorf("Run = %v", err)
		}
	})
}
