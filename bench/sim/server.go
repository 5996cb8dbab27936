// This file is the server: its listeners, its registry, its start and end.

package sim

import (
	"bufio"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"sluice/wire"
)

// The roles of listeners.
const (
	RoleAPI     = "api"
	RoleGateway = "gateway"
	RoleResume  = "resume"
)

// Server is a running simulated Discord. Its methods may be called from any
// goroutine.
type Server struct {
	opt    Options
	ledger *Ledger
	ca     []byte
	gates  map[string]*gate
	https  []*http.Server
	wg     sync.WaitGroup // every goroutine that is the server's

	mu          sync.Mutex
	started     time.Time
	closed      bool
	calm        bool
	held        bool
	silent      bool   // for good
	token       string // empty after a reset
	rng         *rand.Rand
	sessions    map[string]*session
	sessionsN   map[int]int // sessions begun, by shard
	conns       map[*conn]struct{}
	connID      int64
	sessionID   int64
	shardConns  map[int]int    // connections that identified or resumed, by shard
	hostConns   map[string]int // connections, by role
	buckets     map[int]time.Time
	remaining   int
	windowStart time.Time
	calls       []time.Time       // REST calls in the last second
	script      []scripted        // the faults to come
	memberAsks  map[int]time.Time // last request for all members, by guild
	done        chan struct{}     // closed by Close
}

// New starts a server.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	now := time.Now()
	srv := &Server{
		opt: o, ledger: newLedger(o), gates: make(map[string]*gate), started: now, token: o.Token, held: o.Hold,
		rng:      rand.New(rand.NewPCG(o.Seed, 1)),
		sessions: make(map[string]*session), sessionsN: make(map[int]int), conns: make(map[*conn]struct{}),
		shardConns: make(map[int]int), hostConns: make(map[string]int), buckets: make(map[int]time.Time),
		remaining: o.IdentifyTotal, windowStart: now, memberAsks: make(map[int]time.Time),
		done: make(chan struct{}),
	}
	for _, r := range o.Faults.Script {
		srv.script = append(srv.script, scripted{Rule: r})
	}
	roles := []string{RoleAPI, RoleGateway, RoleResume}
	for _, role := range roles {
		l, err := o.Listen(role)
		if err != nil {
			srv.closeGates()
			return nil, fmt.Errorf("sim: listen for %s: %w", role, err)
		}
		srv.gates[role] = &gate{srv: srv, role: role, inner: l, held: make(map[io.Closer]struct{})}
	}
	var config *tls.Config
	if o.TLS {
		hosts := []string{"localhost", "127.0.0.1", "::1"}
		for _, g := range srv.gates {
			if host, _, err := net.SplitHostPort(g.Addr().String()); err == nil {
				hosts = append(hosts, host)
			}
		}
		cert, ca, err := newCertificate(hosts)
		if err != nil {
			srv.closeGates()
			return nil, err
		}
		srv.ca = ca
		config = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	}
	for _, role := range roles {
		var l net.Listener = srv.gates[role]
		if config != nil {
			l = tls.NewListener(l, config)
		}
		hs := &http.Server{
			Handler:      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { srv.serve(w, r, role) }),
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
			ErrorLog:     log.New(io.Discard, "", 0),
			ConnState: func(_ net.Conn, st http.ConnState) {
				switch st {
				case http.StateNew:
					srv.wg.Add(1)
				case http.StateClosed, http.StateHijacked:
					srv.wg.Done()
				}
			},
		}
		srv.https = append(srv.https, hs)
		srv.wg.Add(1)
		go func() {
			defer srv.wg.Done()
			hs.Serve(l)
		}()
	}
	if o.Common {
		srv.wg.Add(1)
		go srv.runCommon()
	}
	return srv, nil
}

func (srv *Server) closeGates() {
	for _, g := range srv.gates {
		g.Close()
	}
}

// Close ends all connections and sessions and waits for the server's
// goroutines. The ledger stays readable.
func (srv *Server) Close() error {
	srv.mu.Lock()
	if !srv.closed {
		close(srv.done)
	}
	srv.closed = true
	conns := make([]*conn, 0, len(srv.conns))
	for c := range srv.conns {
		conns = append(conns, c)
	}
	sessions := make([]*session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		sessions = append(sessions, s)
	}
	srv.mu.Unlock()
	for _, hs := range srv.https {
		hs.Close()
	}
	srv.closeGates()
	for _, s := range sessions {
		s.end(EndShutdown)
	}
	for _, c := range conns {
		c.drop()
	}
	srv.wg.Wait()
	return nil
}

// Ledger returns the server's ledger.
func (srv *Server) Ledger() *Ledger { return srv.ledger }

// APIURL returns the base of the REST calls, "https://127.0.0.1:1234/api/v10"
// or the like.
func (srv *Server) APIURL() string { return srv.url("http", RoleAPI) + "/api/v10" }

// GatewayURL returns what GET /gateway answers.
func (srv *Server) GatewayURL() string { return srv.url("ws", RoleGateway) }

// ResumeURL returns the resume_gateway_url of READY.
func (srv *Server) ResumeURL() string { return srv.url("ws", RoleResume) }

func (srv *Server) url(scheme, role string) string {
	if srv.opt.TLS {
		scheme += "s"
	}
	return scheme + "://" + srv.gates[role].Addr().String()
}

// CertPEM returns the certificate of the authority that clients have to trust,
// nil without TLS.
func (srv *Server) CertPEM() []byte { return srv.ca }

// serve answers a request to one of the listeners.
func (srv *Server) serve(w http.ResponseWriter, r *http.Request, role string) {
	if role == RoleAPI {
		srv.rest(w, r)
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		http.Error(w, "upgrade required", http.StatusUpgradeRequired)
		return
	}
	srv.upgrade(w, r, role)
}

// upgrade makes a connection of a request.
func (srv *Server) upgrade(w http.ResponseWriter, r *http.Request, role string) {
	srv.mu.Lock()
	srv.hostConns[role]++
	n := srv.hostConns[role]
	srv.mu.Unlock()
	for _, rule := range srv.rules(OnUpgrade, role, -1, n, 0) {
		srv.noteFault(0, -1, rule.Do.Kind)
		switch rule.Do.Kind {
		case RefuseUpgrade, ServerError:
			htmlError(w, orStatus(rule.Do.Status, http.StatusServiceUnavailable))
			return
		case RateLimitHTML, RateLimitJSON:
			cloudflareLimit(w, rule.Do.Delay)
			return
		case CutFIN, CutRST:
			if nc, _, err := http.NewResponseController(w).Hijack(); err == nil {
				nc.Close()
			}
			return
		}
	}
	q := r.URL.Query()
	nc, rw, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		srv.opt.Log.Debug("upgrade", "role", role, "err", err)
		return
	}
	c := &conn{
		srv: srv, host: role, hostNumber: n, version: apiVersion(q.Get("v")), compress: q.Get("compress"), nc: nc,
		done: make(chan struct{}), wake: make(chan struct{}, 1), shard: -1, playNext: -1,
	}
	c.query = "v=" + q.Get("v") + "&encoding=" + q.Get("encoding") + "&compress=" + c.compress
	switch c.compress {
	case compressNone, compressZlib, compressZstd:
	default:
		c.refused = true
	}
	if e := q.Get("encoding"); e != "json" && e != "" {
		c.refused = true // Erlang's encoding is not simulated
	}
	if c.version < 6 || c.version > 10 {
		c.refused = true
	}
	srv.mu.Lock()
	if srv.closed {
		srv.mu.Unlock()
		nc.Close()
		return
	}
	srv.connID++
	c.id = srv.connID
	srv.conns[c] = struct{}{}
	srv.wg.Add(1)
	srv.mu.Unlock()
	srv.ledger.with(func() {
		srv.ledger.connects.add(Connect{Time: time.Now(), Conn: c.id, Host: role, Query: r.URL.RawQuery, Compress: q.Get("compress")})
	})
	srv.opt.Log.Info("connected", "conn", c.id, "host", role, "query", r.URL.RawQuery)
	// On a goroutine of its own, so that what net/http keeps for a request is freed.
	go c.run(shrink(rw.Reader, nc))
}

// shrink returns a small reader that goes on where br is.
func shrink(br *bufio.Reader, nc net.Conn) *bufio.Reader {
	var early []byte
	if n := br.Buffered(); n > 0 {
		early, _ = br.Peek(n)
		early = append([]byte(nil), early...)
	}
	if len(early) == 0 {
		return bufio.NewReaderSize(nc, 512)
	}
	return bufio.NewReaderSize(io.MultiReader(strings.NewReader(string(early)), nc), 512)
}

// apiVersion reads the v parameter: without one Discord takes 6.
func apiVersion(v string) int {
	if v == "" {
		return 6
	}
	n := 0
	for _, r := range v {
		if r < '0' || r > '9' || n > 100 {
			return 0
		}
		n = n*10 + int(r-'0')
	}
	return n
}

// gone forgets a connection.
func (srv *Server) gone(c *conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.conns, c)
}

func (srv *Server) tokenIs(token string) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.token != "" && token == srv.token
}

// SetToken gives the bot another token, as a reset by its owner does; sessions
// go on.
func (srv *Server) SetToken(token string) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.token = token
}

// session returns a session that has not ended, or nil.
func (srv *Server) session(id string) *session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.sessions[id]
}

func (srv *Server) keepSession(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.sessions[s.id] = s
}

func (srv *Server) forget(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.sessions, s.id)
}

// numberConn gives a connection its number among those of its shard.
func (srv *Server) numberConn(c *conn, shard int) {
	srv.mu.Lock()
	srv.shardConns[shard]++
	n := srv.shardConns[shard]
	srv.mu.Unlock()
	c.mu.Lock()
	c.number = n
	c.mu.Unlock()
}

// delay returns d, or if that is 0 something between lo and hi; a negative d is
// no delay.
func (srv *Server) delay(d, lo, hi time.Duration) time.Duration {
	if d != 0 {
		return max(d, 0)
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return lo + time.Duration(srv.rng.Int64N(int64(hi-lo)))
}

func newSessionID() string {
	var b [16]byte
	crand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// newSession makes a session, not yet known to anybody.
func (srv *Server) newSession(id string, c *conn, shard, count int, intents wire.Intents, guilds []int) *session {
	s := &session{srv: srv, id: id, shard: shard, count: count, intents: intents, query: c.query, guilds: guilds}
	s.limit = srv.opt.ReplayLimit
	if s.limit == 0 {
		s.limit = max(100, min(3500, 75*len(guilds)))
	}
	srv.mu.Lock()
	srv.sessionsN[shard]++
	n := srv.sessionsN[shard]
	srv.sessionID++
	s.number = srv.sessionID
	srv.mu.Unlock()
	s.rng = rand.New(rand.NewPCG(srv.opt.Seed^uint64(n)<<48, uint64(shard)<<32|uint64(count)))
	s.gaps = rand.New(rand.NewPCG(srv.opt.Seed^uint64(n)<<48, ^(uint64(shard)<<32 | uint64(count))))
	if skew := srv.opt.CommonSkew; skew > 0 {
		s.lag = time.Duration(s.rng.Int64N(int64(skew)))
	}
	if rec := srv.opt.Recording; rec != nil {
		s.play = newPlayer(rec)
	}
	s.gen.surrogates = srv.opt.LoneSurrogates
	return s
}
