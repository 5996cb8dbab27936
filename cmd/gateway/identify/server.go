// Package identify has turns to identify over HTTP, as twilight's gateway-queue gives them: GET /?shard=3 is
// answered when shard 3 may identify. Server gives those of a queue of this process, Client asks for those of another.
package identify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"sluice/cmd/gateway/admin"
	"sluice/engine"
	"sluice/wire"
)

// Travel is how long after its answer a client's Identify is sent, at most: the bucket's next turn waits as if
// it were sent then.
const Travel = time.Second

const (
	// maxWaiting bounds the requests that wait: each costs some 20 KiB.
	maxWaiting = 4096
	// answerFor is how long the answer may take to be written. Nobody uses a later one.
	answerFor = time.Second
	// watchEvery is how often it is looked at whether requests wait for the budget.
	watchEvery = time.Minute
)

// keepAlive notices a peer that is gone, though nothing is sent while a request waits.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Options are what a Server is made of.
type Options struct {
	Address string   // host:port to listen on
	Hosts   []string // names under which it may be reached, besides localhost, IP addresses and the host of Address
	Log     *slog.Logger
}

// Server answers requests in their turn.
type Server struct {
	o        Options
	own      string // host of the address
	listener net.Listener
	server   *http.Server
	lines    lines

	refused admin.Occasional // log lines about requests that are no such
	crowded admin.Occasional // and about too many
}

// Listen opens the address. Whoever connects waits until Serve.
func Listen(o Options) (*Server, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := config.Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, &admin.ListenError{Setting: "identify.address", Err: err}
	}
	s := &Server{o: o, listener: l, lines: lines{max: maxWaiting, all: make(map[int]*line)}}
	s.own, _, _ = net.SplitHostPort(o.Address)
	s.server = &http.Server{
		Handler:                      s,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            5 * time.Second,
		IdleTimeout:                  5 * time.Second,
		MaxHeaderBytes:               1 << 10, // net/http adds 4 KiB
		Protocols:                    new(http.Protocols),
		ErrorLog:                     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), // peers' mistakes
	}
	s.server.Protocols.SetHTTP1(true)
	return s, nil
}

// Addr returns where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve gives the turns of a queue until ctx is done. Then those that wait get no answer.
func (s *Server) Serve(ctx context.Context, queue engine.IdentifyQueue) {
	s.lines.queue = queue
	s.o.Log.Info("identify turns for others served over HTTP", "setting", "identify.address", "address", "http://"+s.Addr().String())
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	go s.watch(ctx)
	err := s.server.Serve(netutil.LimitListener(s.listener, maxWaiting+64))
	if err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		s.o.Log.Error("identify turns for others no longer served", "error", err)
	}
}

// Close ends all connections, without an answer.
func (s *Server) Close() error { return errors.Join(s.listener.Close(), s.server.Close()) }

// ServeHTTP answers one request. Clients as twilight's take any answer as the turn, whatever its status is: who
// should try again gets none.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	shard, code, refused := s.check(r)
	if refused != "" {
		if n, ok := s.refused.Now(time.Now()); ok {
			s.o.Log.Warn("identify: a request is refused", "times", n, "peer", r.RemoteAddr, "reason", refused)
		}
		http.Error(w, refused, code)
		return
	}
	r.Header = nil // it may be large, and the turn far
	switch err := s.lines.wait(r.Context(), shard); {
	case errors.Is(err, errCrowded):
		if n, ok := s.crowded.Now(time.Now()); ok {
			s.o.Log.Warn("identify: too many requests wait; connections are closed without an answer", "closed", n, "max", s.lines.max)
		}
		panic(http.ErrAbortHandler)
	case err != nil:
		panic(http.ErrAbortHandler)
	}
	to := http.NewResponseController(w)
	to.SetWriteDeadline(time.Now().Add(answerFor))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"message": "shard %d may identify"}`+"\n", shard)
	to.Flush()
}

// check returns the shard of a request, or why it is refused.
func (s *Server) check(r *http.Request) (shard, code int, refused string) {
	site := r.Header.Get("Sec-Fetch-Site")
	switch {
	case !admin.KnownHost(r.Host, s.own, s.o.Hosts):
		return 0, http.StatusMisdirectedRequest, "the host of the request is not one of this gateway: http.hosts names those that are"
	case strings.HasPrefix(r.UserAgent(), "Mozilla/") || r.Header.Get("Origin") != "" || site != "" && site != "none":
		return 0, http.StatusForbidden, "a request of a page in a browser"
	case r.URL.Path != "/":
		return 0, http.StatusNotFound, "there is nothing at this path; ask for /?shard=0"
	case r.Method != http.MethodGet:
		return 0, http.StatusMethodNotAllowed, "the method is not GET"
	case r.ContentLength != 0:
		return 0, http.StatusBadRequest, "GET has no body here"
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	text := query.Get("shard")
	shard, bad := strconv.Atoi(text)
	switch {
	case err == nil && len(query["shard"]) == 0:
		return 0, http.StatusBadRequest, "no shard is named; ask for /?shard=0"
	case err != nil || bad != nil || shard < 0 || shard >= wire.MaxShards || len(query["shard"]) > 1:
		return 0, http.StatusBadRequest, fmt.Sprintf("shard is %.40q, and not a number from 0 to %d", text, wire.MaxShards-1)
	}
	return shard, 0, ""
}

// watch logs once that requests wait for the budget, until a turn is given.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for told := int64(-1); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		given, waiting := s.lines.counts()
		if waiting > 0 && given != told && s.lines.queue.Left() <= 0 {
			told = given
			s.o.Log.Warn("identify: no session starts are left above the reserve; shards of other processes wait", "waiting", waiting)
		}
	}
}
