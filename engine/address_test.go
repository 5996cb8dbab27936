// This file tests which addresses the token is sent to.

package engine_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/wire"
)

// hosts returns where connections were tried, each once.
func (w *world) hosts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(w.dials)))
}

// A resume_gateway_url of READY or of a stored session that leads elsewhere is not dialled: the
// session is resumed through the main URL, and what is stored next names no other.
func TestResumeURLRefused(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		hosts := []string{"gateway"}
		w := newWorld(t, reader, sim.Options{Rate: 3}, engine.Options{GatewayHosts: hosts})
		w.ready(1)
		if s := w.sessions()[0]; s.ID == "" || s.ResumeURL != "" {
			t.Errorf("stored: %+v", s)
		}
		w.srv.Cut(0, true)
		w.wait("resume", func() bool { return w.engine.Status().Counts.Resumes == 1 })
		for i, address := range []string{"ws://resume:80", "ws://user@gateway:80", "ws://gateway:80/\x00", "ws://gateway:80/" + strings.Repeat("a", 512)} {
			w.stop()
			if err := <-w.ended; err != nil {
				t.Fatal(err)
			}
			sessions := w.sessions()
			s := sessions[0]
			s.ResumeURL = address
			sessions[0] = s
			w.start(engine.Options{GatewayHosts: hosts, Checkpoints: keep(sessions)})
			w.wait("resume", func() bool { return w.engine.Status().Counts.Resumes == 1 })
			if s := w.sessions()[0]; s.ResumeURL != "" {
				t.Errorf("%d: %.50q is kept", i, s.ResumeURL)
			}
		}
		if got := w.hosts(); !slices.Equal(got, []string{"gateway:80"}) {
			t.Errorf("connected to %q", got)
		}
		w.srv.Silence()
		whole(t, w.quiet())
		w.end()
	})
}

// answers is an API whose answers to GET /gateway/bot are the function's.
type answers func(n int64) string

func (f answers) api(base string, asked *atomic.Int64) *wire.API {
	return &wire.API{Base: base, Token: simToken, Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(f(asked.Add(1)))), Request: r}, nil
	})}}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An address of GET /gateway/bot that leads elsewhere is asked for again at the start, and
// afterwards leaves the main URL as it was. However many buckets the answer has, memory
// follows the shards.
func TestGatewayBotAddressRefused(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		const answer = `{"url":%q,"shards":2,"session_start_limit":{"total":1000,"remaining":900,"reset_after":1,"max_concurrency":1000000000}}`
		var asked atomic.Int64
		api := answers(func(n int64) string {
			if n == 3 {
				return fmt.Sprintf(answer, "ws://gateway:80")
			}
			return fmt.Sprintf(answer, "ws://elsewhere:80")
		}).api("http://api/api/v10", &asked)
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2}, engine.Options{API: api})
		w.ready(2)
		if n := asked.Load(); n != 3 {
			t.Errorf("asked %d times until the address was one of the API's", n)
		}
		w.srv.SetResumeHost(sim.GateRefuse)
		w.srv.SetGateway(sim.GateRefuse)
		w.srv.Cut(0, true)
		w.wait("another answer", func() bool { return asked.Load() > 3 })
		w.srv.SetGateway(sim.GateOpen)
		w.ready(2)
		if got := w.hosts(); slices.Contains(got, "elsewhere:80") {
			t.Errorf("connected to %q", got)
		}
		w.end()
	})
}

// Over TLS the API names no gateway without.
func TestGatewayBotAddressInClear(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		var asked atomic.Int64
		api := answers(func(int64) string {
			return `{"url":"ws://gateway:80","shards":1,"session_start_limit":{"total":1000,"remaining":900,"reset_after":1,"max_concurrency":1}}`
		}).api("https://gateway/api/v10", &asked)
		w := newWorld(t, reader, sim.Options{}, engine.Options{API: api})
		w.wait("another question", func() bool { return asked.Load() > 2 })
		if got := w.hosts(); len(got) > 0 {
			t.Errorf("connected to %q", got)
		}
		w.end()
	})
}

// Without an API an engine goes on, whatever would be asked of it.
func TestNoAPI(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 1}, engine.Options{
			GatewayURL: "ws://gateway:80", Shards: 1, Checkpoints: &checkpoints{starts: resume.Starts{Count: 995, Until: time.Now().Add(70 * time.Minute)}},
		})
		w.ready(1)
		w.srv.SetResumeHost(sim.GateRefuse)
		w.srv.SetGateway(sim.GateRefuse)
		w.srv.Cut(0, true)
		before := w.dialed()
		w.wait("failures", func() bool { return w.dialed() > before+8 })
		w.srv.SetGateway(sim.GateOpen)
		w.ready(1)
		began := time.Now()
		for time.Since(began) < 20*time.Minute { // its own count of the day is used up
			w.srv.InvalidSession(0, false)
			time.Sleep(time.Minute)
		}
		if n := w.srv.Ledger().Summary().Identifies; n != 5 {
			t.Errorf("%d identifies, want the 5 that are left", n)
		}
		w.ready(1)
		w.end()
	})
}

// A refusal that is not surely Discord's own is waited out; Discord's own ends the engine.
func TestAPIRefuses(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		final  bool
	}{
		{403, `{"message":"internal network error","code":40333}`, false},
		{403, `{"message":"denied by policy"}`, false},
		{403, "<html>", false},
		{401, `{"error":"login required"}`, false},
		{302, "", false},
		{403, `{"message":"403: Forbidden","code":0}`, true},
		{401, `{"message":"401: Unauthorized","code":0}`, true},
	} {
		t.Run(fmt.Sprintf("%d %s", tt.status, tt.body), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				asked := 0
				api := &wire.API{Base: "http://api/api/v10", Token: simToken, Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					status, body := tt.status, tt.body
					if asked++; asked > 3 {
						status, body = 200, `{"url":"ws://gateway:80","shards":1,"session_start_limit":{"total":1000,"remaining":900,"reset_after":1,"max_concurrency":1}}`
					}
					return &http.Response{StatusCode: status, Header: http.Header{"Location": {"http://elsewhere"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
				})}}
				w := newWorld(t, reader, sim.Options{}, engine.Options{API: api})
				if !tt.final {
					w.ready(1)
					w.end()
					return
				}
				var fatal *engine.FatalError
				if err := <-w.ended; !errors.As(err, &fatal) || *fatal != (engine.FatalError{Shard: -1, Status: tt.status}) || asked != 1 {
					t.Errorf("Run = %v after %d questions", err, asked)
				}
			})
		})
	}
}
