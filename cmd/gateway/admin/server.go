// Package admin is how an operator reaches a running gateway: metrics, health, status, the page and
// actions over HTTP, at an address and at a unix socket in the state directory.
//
// Nothing of it is on the event path: what it shows is asked for when somebody looks. Whoever
// looks is bounded in connections, bytes and time (limits), so that a thousand clients that do not
// go on keep nobody from metrics and health.
package admin

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/cmd/gateway/status"
)

// Options are what a Server serves, and where. What is nil is not there (404).
type Options struct {
	Address string // http.address; empty: off
	// Token returns http.token, which may change: each request is held to the one in force. Nil or
	// empty: there is no action over TCP, and nothing but metrics and health for other machines.
	Token func() string
	Hosts []string // http.hosts

	// Metrics alone, to everybody, at a path; an empty one is every path. If the address is
	// Address, word for word, the path is one of that listener, and an empty one is /metrics.
	PrometheusAddress, PrometheusEndpoint string

	Socket string // path of the unix socket; empty: none. Its directory exists.

	Metrics http.Handler
	Status  func() *status.Status
	Checks  func() []status.Check // may be called often
	Page    http.Handler          // of / and what is below /page/; /page/stream is a stream
	Tap     http.Handler          // of /tap, a stream
	Actions Actions
	Fleet   Fleet // actions, too; nil: this process is in no fleet

	Log *slog.Logger
}

// Actions are what can be asked of a running gateway. The text of an error is for who asked.
type Actions interface {
	// Reconnect closes the connection of a shard. How says what follows: "reconnect" resumes the
	// session if there is one, "resume" needs one, "identify" gives it up.
	Reconnect(ctx context.Context, shard int, how string) error
	// SetLogLevel sets log.level until the process ends.
	SetLogLevel(level string) error
	// Reload reads the settings again, and returns a line for each change.
	Reload(ctx context.Context) (changes []string, err error)
	// Reshard returns what another shard count takes, a line each, and, with begin, begins with it: the status says how
	// it goes. With an error nothing is begun.
	Reshard(ctx context.Context, shards int, begin bool) (plan []string, err error)
	// CallOff ends what Reshard has begun, while it can be.
	CallOff(ctx context.Context) error
}

// Fleet is what can be asked of a member of a fleet.
type Fleet interface {
	// Drain has it give all of its shards to others, and take none from now on. It does not wait.
	Drain() error
	// Rebalance has it give what it has above its share now.
	Rebalance() error
}

// limits bound what clients cost. Tests have shorter ones.
type limits struct {
	connections int           // of each listener
	grace       time.Duration // of a connection that is read, to send its request once it has begun to, before it is closed for another
	streams     int           // of each listener, of them
	answers     int           // of metrics and status that are written at the same time, of each listener
	answerStill time.Duration // of an answer that nothing is read of, before it is given up for another; a lost packet takes 200 ms
	headerBytes int
	bodyBytes   int64

	readHeader, read, write, idle time.Duration
	streamWrite                   time.Duration // of each piece of a stream
	wrongToken                    time.Duration // until a wrong token is refused
	action                        time.Duration
	checksAge                     time.Duration // how old an answer about health may be
}

var defaultLimits = limits{
	connections: 256, grace: 50 * time.Millisecond, streams: 32, answers: 8, answerStill: 300 * time.Millisecond, headerBytes: 16 << 10, bodyBytes: 4 << 10,
	readHeader: 5 * time.Second, read: 10 * time.Second, write: 30 * time.Second, idle: 2 * time.Minute,
	streamWrite: 10 * time.Second, wrongToken: 250 * time.Millisecond, action: 25 * time.Second, checksAge: 100 * time.Millisecond,
}

// Server serves until Close.
type Server struct {
	o        Options
	limits   limits
	wrong    Occasional // log lines about wrong tokens
	crowded  Occasional // log lines about too many connections
	health   health
	drawing  sync.Mutex // one answer of metrics or status is made at a time
	draining atomic.Bool

	mu      sync.Mutex
	closed  bool
	servers []*http.Server
	addrs   map[string]net.Addr
	socket  *socket
	cancel  context.CancelFunc
	serving sync.WaitGroup
}

// ListenError is of an address that cannot be listened at.
type ListenError struct {
	Setting string
	Err     error
}

func (e *ListenError) Error() string {
	hint := ""
	switch {
	case errors.Is(e.Err, errInUse):
		hint = "; another process listens there, or one of the other addresses of the settings is the same"
	case errors.Is(e.Err, errForbidden):
		hint = "; a port below 1024 needs the capability CAP_NET_BIND_SERVICE: choose another"
	case errors.Is(e.Err, errNotHere):
		hint = "; it must be an address of this machine"
	}
	return e.Setting + ": " + e.Err.Error() + hint
}

func (e *ListenError) Unwrap() error { return e.Err }

// InUse reports whether an error of listening says that somebody else has the address.
func InUse(err error) bool { return errors.Is(err, errInUse) }

// Listen opens what the options name, and serves it. An address that cannot be listened at is a
// *ListenError; a socket that cannot be made is logged.
func Listen(o Options) (*Server, error) { return listen(o, defaultLimits) }

func listen(o Options, limits limits) (*Server, error) {
	if o.Token == nil {
		o.Token = func() string { return "" }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, limits: limits, addrs: map[string]net.Addr{}}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	shared := o.Address != "" && o.PrometheusAddress == o.Address
	if o.Address != "" {
		e := &entry{s: s, endpoint: "/metrics"}
		if shared {
			e.endpoint = cmp.Or(o.PrometheusEndpoint, e.endpoint)
		}
		if err := s.listenTCP("http.address", o.Address, e); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if o.PrometheusAddress != "" && !shared {
		if err := s.listenTCP("prometheus.address", o.PrometheusAddress, &entry{s: s, endpoint: o.PrometheusEndpoint, metricsAlone: true}); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if o.Socket != "" {
		s.serving.Go(func() { s.listenSocket(ctx, o.Socket) })
	}
	return s, nil
}

func (s *Server) listenTCP(setting, address string, e *entry) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return &ListenError{setting, err}
	}
	e.addr = l.Addr()
	tcp, _ := l.Addr().(*net.TCPAddr)
	e.loopback = tcp != nil && tcp.IP.IsLoopback()
	e.own, _, _ = net.SplitHostPort(address)
	s.addrs[setting] = l.Addr()
	s.serve(l, e, nil)
	s.o.Log.Info("served over HTTP", "setting", setting, "address", "http://"+l.Addr().String())
	return nil
}

// Addr returns where the listener of a setting is: http.address or prometheus.address; nil: there
// is none.
func (s *Server) Addr(setting string) net.Addr { return s.addrs[setting] }

// serve serves a listener until Close, with which the socket ends, if it is one. It is false after Close.
func (s *Server) serve(l net.Listener, e *entry, sock *socket) bool {
	set := &connections{max: s.limits.connections, grace: s.limits.grace, crowded: func() {
		if n, ok := s.crowded.Now(time.Now()); ok {
			s.o.Log.Warn("http: too many connections: the oldest that ask for nothing are closed", "closed", n, "max", s.limits.connections)
		}
	}}
	e.streams, e.answers = make(chan struct{}, s.limits.streams), newAnswers(s.limits.answers, s.limits.answerStill)
	server := &http.Server{
		Handler:                      e,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            s.limits.readHeader,
		ReadTimeout:                  s.limits.read,
		WriteTimeout:                 s.limits.write,
		IdleTimeout:                  s.limits.idle,
		MaxHeaderBytes:               s.limits.headerBytes,
		Protocols:                    new(http.Protocols),
		ErrorLog:                     slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug), // peers' mistakes
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	server.Protocols.SetHTTP1(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.Close()
		return false
	}
	s.servers = append(s.servers, server)
	if sock != nil {
		s.socket = sock
	}
	s.serving.Go(func() { server.Serve(newBoundedListener(l, set)) }) // its end is Close's
	return true
}

// Drain has /readyz answer that the process shuts down. All else goes on.
func (s *Server) Drain() { s.draining.Store(true) }

// Close ends the listeners and all connections.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	servers, socket := s.servers, s.socket
	s.servers, s.socket = nil, nil
	s.mu.Unlock()
	s.cancel()
	if socket != nil {
		socket.remove() // before the listener: nobody is to find it closed
	}
	var errs []error
	for _, server := range servers {
		errs = append(errs, server.Close())
	}
	s.serving.Wait()
	if socket != nil {
		errs = append(errs, socket.unlock())
	}
	return errors.Join(errs...)
}

// Occasional lets a line be logged once in a while, with how often it would have been.
type Occasional struct {
	mu   sync.Mutex
	n    int
	last time.Time
}

func (o *Occasional) Now(at time.Time) (n int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n++
	if at.Sub(o.last) < time.Minute {
		return 0, false
	}
	n, o.n, o.last = o.n, 0, at
	return n, true
}

// hostOf returns the host of host:port, or of a host alone, as it is compared.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
