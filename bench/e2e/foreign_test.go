// This file holds what clients that others wrote must do, unmodified, against
// the simulated Discord: what they accept is right, as far as they know.

package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
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

// foreignServer starts a simulated Discord with TLS and live traffic that
// forgets nothing.
func foreignServer(t *testing.T) (*sim.Server, *tls.Config) {
	t.Helper()
	srv := startSim(t, sim.Options{TLS: true, Token: foreignToken, Shards: foreignShards,
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

// foreignSurvives cuts each of the client's connections and sends each op 7. It
// expects that the client resumes every time, at the host of that name, receives
// what comes then, and in the end has had every event once, in order and
// unchanged.
func foreignSurvives(t *testing.T, srv *sim.Server, log *foreignLog, host string) {
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
	const rounds = 2
	for round := range rounds {
		cut, asked := round, 1-round
		if srv.Cut(cut, true) != 1 || srv.Reconnect(asked) != 1 {
			t.Fatalf("a shard without a connection before round %d", round+1)
		}
		waitFor(t, "resume after a cut and one after op 7", func() bool {
			s := srv.Ledger().Sessions()
			return s[0].Resumes == round+1 && s[1].Resumes == round+1
		})
		more()
	}

	s := srv.Ledger().Summary()
	if s.Identifies != foreignShards || s.Sessions != foreignShards || s.Resumes != rounds*foreignShards || s.QueryMissing > 0 {
		t.Errorf("wanted %d identifies and %d resumes:\n%v", foreignShards, rounds*foreignShards, s)
	}
	for _, r := range srv.Ledger().Resumes() {
		if r.Outcome != "resumed" || r.Host != host {
			t.Errorf("wanted resumes at host %q: %+v", host, r)
		}
	}
	for _, session := range srv.Ledger().Sessions() {
		waitFor(t, "last events", func() bool { return log.last(session.Shard) >= session.Last })
		foreignCompare(t, session.Shard, srv.Ledger().Events(session.ID), log)
	}
}

// foreignCompare reports the first difference between what a shard was sent and
// what its client handed on.
func foreignCompare(t *testing.T, shard int, sent []sim.Event, log *foreignLog) {
	t.Helper()
	log.mu.Lock()
	defer log.mu.Unlock()
	for i, got := range log.events[shard] {
		if i == len(sent) {
			return // it came since sent was asked for
		}
		want := sent[i]
		if got.Seq != want.Seq || got.Type != want.Type || got.Hash != want.Hash && got.Hash != 0 {
			t.Errorf("shard %d: event %d is %d %s, hash %x; wanted %d %s, hash %x",
				shard, i, got.Seq, got.Type, got.Hash, want.Seq, want.Type, want.Hash)
			return
		}
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
		if c.Op == wire.OpIdentify && bytes.Contains(c.Raw, []byte(`"compress":true`)) != (compression == "zlib-payload") {
			t.Errorf("shard %d identified for another compression", c.Shard)
		}
	}
}
