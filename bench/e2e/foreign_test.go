// This file holds what clients that others wrote must do, unmodified, against
// the simulated Discord: what they accept is right, as far as they know.

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/bench/sim"
	"sluice/wire"
)

// foreignShards is the number of shards of each of the clients.
const foreignShards = 2

// foreignToken is one that disgo can take the bot's id from.
var foreignToken = base64.RawStdEncoding.EncodeToString([]byte("795240038400004096")) + ".x.y"

// foreignServer starts a simulated Discord with live traffic that forgets nothing.
func foreignServer(t *testing.T, secure bool) (*sim.Server, *tls.Config) {
	t.Helper()
	srv := startSim(t, sim.Options{TLS: secure, Token: foreignToken, Shards: foreignShards,
		Guilds: 20, Rate: 100, ReplayLimit: 100_000, Seed: 1})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%v\nresumes: %+v\ncloses: %+v", srv.Ledger().Summary(), srv.Ledger().Resumes(), srv.Ledger().Closes())
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(srv.CertPEM())
	return srv, &tls.Config{RootCAs: roots}
}

// foreignHTTP returns an HTTP client that leaves no idle connection behind.
func foreignHTTP(config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

// foreignLog is what a client handed on to its user, by shard, in its order.
type foreignLog struct {
	mu     sync.Mutex
	events [foreignShards][]sim.Event // a Hash of 0 is not known
}

func (l *foreignLog) add(shard int, e sim.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events[shard] = append(l.events[shard], e)
}

// last returns the seq of the newest event of a shard, 0 if there is none.
func (l *foreignLog) last(shard int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.events[shard]); n > 0 {
		return l.events[shard][n-1].Seq
	}
	return 0
}

// foreignFault is what a shard meets, and whether the client has to resume after it.
type foreignFault struct {
	name    string
	resumes bool
	do      func(srv *sim.Server, shard int) int
}

// foreignFaults are the faults, of which each of the shards meets all, or the first few.
var foreignFaults = []foreignFault{
	{"op 7", true, func(srv *sim.Server, shard int) int { return srv.Reconnect(shard) }},
	{"RST", true, func(srv *sim.Server, shard int) int { return srv.Cut(shard, true) }},
	{"ping", false, func(srv *sim.Server, shard int) int { return srv.Do(shard, sim.Action{Kind: sim.PingFrame}) }},
	{"split frames", false, func(srv *sim.Server, shard int) int { return srv.Do(shard, sim.Action{Kind: sim.SplitFrames}) }},
	{"close 4000", true, func(srv *sim.Server, shard int) int {
		return srv.CloseShard(shard, wire.CloseUnknownError, "Unknown error.")
	}},
	{"FIN", true, func(srv *sim.Server, shard int) int { return srv.Cut(shard, false) }},
	{"op 9 true", true, func(srv *sim.Server, shard int) int { return srv.InvalidSession(shard, true) }},
	{"close 1001", true, func(srv *sim.Server, shard int) int { return srv.CloseShard(shard, wire.CloseGoingAway, "going away") }},
}

// foreignFew is the number of faults without the tag foreign.
const foreignFew = 2

// foreignSurvives does the faults to each of the client's shards. It expects that
// the client resumes every time, at the host of that name, receives what comes
// then, and in the end has had every event once, in order and unchanged. After the
// faults named by anew it identifies instead: that is how this client is.
func foreignSurvives(t *testing.T, srv *sim.Server, log *foreignLog, host string, anew ...string) {
	t.Helper()
	more := func() {
		t.Helper()
		for shard := range foreignShards {
			// Of what the connection sends from now on, not what was on its way.
			seq := srv.Seq(shard) + 50
			waitFor(t, "events", func() bool { return log.last(shard) >= seq })
		}
	}
	waitFor(t, "session of each shard", func() bool { return srv.Connected() == foreignShards })
	more()
	var resumes, sessions [foreignShards]int
	for shard := range foreignShards {
		sessions[shard] = 1
	}
	faults := foreignFaults
	if !foreignAll {
		faults = faults[:foreignFew]
	}
	for round := range faults {
		for shard := range foreignShards {
			fault := faults[(round+shard*len(faults)/foreignShards)%len(faults)]
			switch {
			case slices.Contains(anew, fault.name):
				sessions[shard]++
			case fault.resumes:
				resumes[shard]++
			}
			if fault.do(srv, shard) != 1 {
				t.Fatalf("%s: shard %d has no connection", fault.name, shard)
			}
		}
		waitFor(t, fmt.Sprintf("%v resumes and %v sessions after round %d", resumes, sessions, round+1), func() bool {
			var did, began [foreignShards]int
			for _, s := range srv.Ledger().Sessions() {
				did[s.Shard] += s.Resumes
				began[s.Shard]++
			}
			return did == resumes && began == sessions && srv.Connected() == foreignShards
		})
		more()
	}

	total := func(n [foreignShards]int) (sum int) {
		for _, n := range n {
			sum += n
		}
		return sum
	}
	s := srv.Ledger().Summary()
	if s.Identifies != total(sessions) || s.Sessions != total(sessions) || s.Resumes != total(resumes) || s.QueryMissing > 0 {
		t.Errorf("wanted %v identifies and %v resumes:\n%v", sessions, resumes, s)
	}
	for _, r := range srv.Ledger().Resumes() {
		if r.Outcome != "resumed" || r.Host != host {
			t.Errorf("wanted resumes at host %q: %+v", host, r)
		}
	}
	for shard := range foreignShards {
		foreignCompare(t, srv, shard, log)
	}
}

// foreignCompare reports the first difference between what the sessions of a shard
// were sent and what its client handed on, and waits for the end of the last one.
func foreignCompare(t *testing.T, srv *sim.Server, shard int, log *foreignLog) {
	t.Helper()
	var sessions []sim.SessionInfo
	for _, s := range srv.Ledger().Sessions() {
		if s.Shard == shard {
			sessions = append(sessions, s)
		}
	}
	last := sessions[len(sessions)-1].Last
	waitFor(t, "last events", func() bool { return log.last(shard) >= last })
	log.mu.Lock()
	defer log.mu.Unlock()
	var sent []sim.Event
	session, next := -1, 0
	for i, got := range log.events[shard] {
		if got.Type == "READY" {
			if session++; session == len(sessions) {
				t.Errorf("shard %d: more READY than sessions", shard)
				return
			}
			sent, next = srv.Ledger().Events(sessions[session].ID), 0
		}
		if next == len(sent) {
			return // it came since sent was asked for
		}
		want := sent[next]
		next++
		if got.Seq != want.Seq || got.Type != want.Type || got.Hash != want.Hash && got.Hash != 0 {
			t.Errorf("shard %d: event %d is %d %s, hash %x; wanted %d %s, hash %x",
				shard, i, got.Seq, got.Type, got.Hash, want.Seq, want.Type, want.Hash)
			return
		}
	}
	if session != len(sessions)-1 {
		t.Errorf("shard %d: %d READY for %d sessions", shard, session+1, len(sessions))
	}
}

// foreignCompression reports a connection of another compression than meant.
func foreignCompression(t *testing.T, srv *sim.Server, compression string) {
	t.Helper()
	stream := ""
	if strings.HasSuffix(compression, "-stream") {
		stream = compression
	}
	for _, c := range srv.Ledger().Connects() {
		if c.Compress != stream {
			t.Errorf("connected with compress=%q", c.Compress)
		}
	}
	for _, c := range srv.Ledger().Commands() {
		if c.Op == wire.OpIdentify && stream == "" && identifiesCompressed(c.Raw) != (compression == "zlib-payload") {
			t.Errorf("shard %d identified for another compression", c.Shard)
		}
	}
}

// identifiesCompressed reports whether an Identify asks for compressed messages. Under
// a compressed stream that means nothing, and some ask for it all the same.
func identifiesCompressed(raw []byte) bool {
	var identify struct {
		D struct{ Compress any }
	}
	return json.Unmarshal(raw, &identify) == nil && identify.D.Compress == true
}
