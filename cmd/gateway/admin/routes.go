// This file has the routes.

package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/cmd/gateway/status"
)

// entry is the handler of a listener.
type entry struct {
	s            *Server
	addr         net.Addr
	own          string // host of the address in the settings
	endpoint     string // the path of metrics; empty: every path
	socket       bool   // the unix socket, whose file says who may connect
	loopback     bool   // only this machine connects
	metricsAlone bool   // prometheus.address

	streams chan struct{} // has a value for each stream
	answers *answers      // of metrics and status
}

// route is what a path leads to.
type route struct {
	needs  level
	post   bool // else GET and HEAD
	stream bool
	serve  http.HandlerFunc
}

func (e *entry) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c := connOf(r.Context())
	c.answering(true)
	defer c.answering(false)
	w := newWriter(rw)
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == http.ErrAbortHandler:
			panic(p)
		default:
			e.s.o.Log.Error("http: a request failed", "path", r.URL.Path, "error", fmt.Errorf("panic: %v", p), "stack", string(debug.Stack()))
			if w.wrote {
				panic(http.ErrAbortHandler) // the connection ends
			}
			(&refusal{code: http.StatusInternalServerError, text: "the request failed; the log says why", close: true}).answer(w, r, e.s)
		}
	}()
	setHeaders(w.Header())
	for _, check := range []func(*http.Request) *refusal{e.checkShape, e.checkHost, e.checkSite} {
		if refused := check(r); refused != nil {
			refused.answer(w, r, e.s)
			return
		}
	}
	to, ok := e.find(r.URL)
	if !ok {
		(&refusal{code: http.StatusNotFound, text: "there is nothing at this path", close: r.ContentLength != 0}).answer(w, r, e.s)
		return
	}
	methods := []string{http.MethodGet, http.MethodHead}
	switch {
	case to.post:
		methods = []string{http.MethodPost}
	case to.stream: // HEAD would have no end
		methods = methods[:1]
	}
	if !slices.Contains(methods, r.Method) {
		allow := strings.Join(methods, ", ")
		w.Header().Set("Allow", allow)
		(&refusal{code: http.StatusMethodNotAllowed, text: "the method is none of " + allow, close: r.ContentLength != 0}).answer(w, r, e.s)
		return
	}
	token, refused := e.checkAccess(r, to.needs)
	if refused != nil {
		refused.close = r.ContentLength != 0
		refused.answer(w, r, e.s)
		return
	}
	if to.stream {
		if token != "" {
			w.ends = func() bool { return e.s.o.Token() != token }
		}
		e.stream(w, r, to.serve)
		return
	}
	to.serve(w, r)
}

// stream serves one that has no end, if there are not too many.
func (e *entry) stream(w *writer, r *http.Request, serve http.HandlerFunc) {
	select {
	case e.streams <- struct{}{}:
		defer func() { <-e.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		(&refusal{code: http.StatusServiceUnavailable, text: fmt.Sprintf("%d streams are open (pages and gateway tap), which is the most; close one", cap(e.streams))}).answer(w, r, e.s)
		return
	}
	w.patient(e.s.limits.streamWrite)
	serve(w, r)
}

// find returns the route of a path, which is one as it is written: nothing is decoded, cleaned or redirected.
func (e *entry) find(u *url.URL) (route, bool) {
	o, path := &e.s.o, u.Path
	if u.RawPath != "" || strings.Contains(path, "//") || strings.Contains(path, "/.") {
		return route{}, false
	}
	isMetrics := path == e.endpoint || path == "/metrics" && !e.metricsAlone || e.endpoint == "" && strings.HasPrefix(path, "/")
	if isMetrics && o.Metrics != nil {
		return route{serve: e.metrics}, true
	}
	if e.metricsAlone {
		return route{}, false
	}
	switch {
	case path == "/livez" || path == "/readyz":
		return route{serve: e.s.checks}, true
	case path == "/status" && o.Status != nil:
		return route{needs: view, serve: e.status}, true
	case (path == "/" || strings.HasPrefix(path, "/page/")) && o.Page != nil:
		return route{needs: view, stream: path == "/page/stream", serve: o.Page.ServeHTTP}, true
	case path == "/tap" && o.Tap != nil:
		return route{needs: view, stream: true, serve: o.Tap.ServeHTTP}, true
	}
	if o.Actions == nil {
		return route{}, false
	}
	if shard, how, ok := shardPath(path); ok {
		return route{needs: act, post: true, serve: func(w http.ResponseWriter, r *http.Request) { e.s.reconnect(w, r, shard, how) }}, true
	}
	switch path {
	case "/loglevel":
		return route{needs: act, post: true, serve: e.s.setLogLevel}, true
	case "/reshard":
		return route{needs: act, post: true, serve: e.s.reshard}, true
	case "/reshard/cancel":
		return route{needs: act, post: true, serve: e.s.callOff}, true
	case "/reload":
		return route{needs: act, post: true, serve: e.s.reload}, true
	case "/fleet/drain":
		return route{needs: act, post: true, serve: e.s.askFleet(Fleet.Drain)}, true
	case "/fleet/rebalance":
		return route{needs: act, post: true, serve: e.s.askFleet(Fleet.Rebalance)}, true
	}
	return route{}, false
}

// metrics answers with the exposition.
func (e *entry) metrics(w http.ResponseWriter, r *http.Request) {
	e.whole(w, r, e.s.o.Metrics.ServeHTTP)
}

// status answers with the document, and the shards that the query asks for.
func (e *entry) status(w http.ResponseWriter, r *http.Request) {
	q, err := status.ParseQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.whole(w, r, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		d := e.s.o.Status()
		d.Shards.List, d.Shards.Listed = q.Select(d.Shards.List)
		status.Abridge(d.Shards.List)
		text, err := json.Marshal(d)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Write(append(text, '\n'))
	})
}

// whole has an answer made, one at a time, and sends it. Who does not read does not keep others
// from theirs.
func (e *entry) whole(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	a := e.answers.begin(r.Context(), connOf(r.Context()))
	if a == nil {
		return
	}
	defer a.end()
	b := &buffered{header: w.Header(), code: http.StatusOK}
	func() {
		e.s.drawing.Lock()
		defer e.s.drawing.Unlock()
		if r.Context().Err() == nil {
			serve(b, r)
		}
	}()
	a.move()
	w.Header().Set("Content-Length", strconv.Itoa(b.body.Len()))
	w.WriteHeader(b.code)
	a.send(w, b.body.Bytes())
}

// buffered keeps an answer.
type buffered struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (b *buffered) Header() http.Header         { return b.header }
func (b *buffered) WriteHeader(code int)        { b.code = code }
func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }

// health keeps what has been found out a moment ago: everybody may ask, as often as they like.
type health struct {
	mu     sync.Mutex
	at     time.Time
	checks []status.Check
}

func (s *Server) healthNow() []status.Check {
	if s.o.Checks == nil {
		return nil
	}
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.at.IsZero() || now.Sub(h.at) >= s.limits.checksAge {
		h.checks, h.at = s.o.Checks(), now
	}
	return h.checks
}

// checks answers /livez and /readyz: 200 or 503, with the conditions that are not met; ?verbose has
// all of them.
func (s *Server) checks(w http.ResponseWriter, r *http.Request) {
	of := r.URL.Path[1:]
	all := s.healthNow()
	if s.draining.Load() {
		all = append(all[:len(all):len(all)], status.Check{Name: "shutdown", Of: "readyz", Text: "the process shuts down"})
	}
	_, verbose := r.URL.Query()["verbose"]
	code, text := http.StatusOK, new(strings.Builder)
	for _, c := range all {
		switch {
		case c.Of != of:
		case !c.OK:
			code = http.StatusServiceUnavailable
			fmt.Fprintf(text, "failed %s: %s\n", c.Name, c.Text)
		case verbose:
			fmt.Fprintf(text, "ok %s: %s\n", c.Name, c.Text)
		}
	}
	summary := of + ": ok\n"
	if code != http.StatusOK {
		summary = of + ": failed\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	io.WriteString(w, text.String()+summary)
}
