// This file runs the readers on real sockets, through whatever can happen to
// them.

package engine_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/internal/proxy/proxytest"
	"sluice/wire"
)

func TestReaders(t *testing.T) {
	kinds := map[string]engine.ReaderKind{"goroutine": engine.ReaderGoroutine}
	if runtime.GOOS == "linux" {
		kinds["epoll"] = engine.ReaderEpoll
	}
	for name, kind := range kinds {
		for _, tt := range []struct {
			secure bool
			c      wire.Compression
		}{{true, wire.CompressionZstd}, {true, wire.CompressionNone}, {false, wire.CompressionZlib}} {
			t.Run(fmt.Sprintf("%s/TLS %v/%v", name, tt.secure, tt.c), func(t *testing.T) {
				t.Parallel()
				testReader(t, kind, tt.secure, tt.c, "")
			})
		}
	}
}

// The gateway and the resume host are reached through each kind of proxy; behind an https one
// goroutines read, whoever is asked for.
func TestReadersBehindProxy(t *testing.T) {
	kinds := map[string]engine.ReaderKind{"goroutine": engine.ReaderGoroutine}
	if runtime.GOOS == "linux" {
		kinds["epoll"] = engine.ReaderEpoll
	}
	for name, kind := range kinds {
		for _, scheme := range []string{"http", "https", "socks5"} {
			for _, secure := range []bool{true, false} {
				if !secure && scheme != "http" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/TLS %v", name, scheme, secure), func(t *testing.T) {
					t.Parallel()
					testReader(t, kind, secure, wire.CompressionZstd, scheme)
				})
			}
		}
	}
}

// startProxy starts a proxy of the scheme and returns its address, with what it wants.
func startProxy(t *testing.T, scheme string, roots *x509.CertPool) (*proxytest.Server, *url.URL) {
	o := proxytest.Options{SOCKS: scheme == "socks5", User: "user", Password: "password"}
	if scheme == "https" {
		web := httptest.NewUnstartedServer(nil) // for its certificate
		web.StartTLS()
		web.Close()
		roots.AddCert(web.Certificate())
		o.Certificate = &web.TLS.Certificates[0]
	}
	p, err := proxytest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, &url.URL{Scheme: scheme, Host: p.Addr(), User: url.UserPassword("user", "password")}
}

// testReader runs 4 shards through faults until 5 resumes brought them back, with a
// queue so small that shards pause now and then. Behind a proxy, all connections go through it.
func testReader(t *testing.T, kind engine.ReaderKind, secure bool, c wire.Compression, proxy string) {
	const shards = 4
	srv, err := sim.New(sim.Options{
		TLS: secure, Shards: shards, MaxConcurrency: shards, IdentifyWindow: time.Millisecond, ReadyDelay: time.Millisecond,
		Rate: 40, ReplayLimit: 1 << 20, HeartbeatInterval: 2 * time.Second, HeartbeatGrace: time.Minute, SendLimit: 1 << 20, Seed: 7,
		LoneSurrogates: true, Undocumented: true,
		Faults: sim.Faults{Seed: 7, EveryEvents: 40, Kinds: sim.Kinds(sim.CutFIN, sim.CutRST, sim.SwallowACKs, sim.Reconnect, sim.CloseFrame,
			sim.Garbage, sim.BadFrame, sim.Truncate, sim.SplitFrames, sim.SplitWrites, sim.PingFrame, sim.AskHeartbeat)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(srv.CertPEM())
	config := &tls.Config{RootCAs: roots}
	var through *proxytest.Server
	var find func(*url.URL) (*url.URL, error)
	if proxy != "" {
		var address *url.URL
		through, address = startProxy(t, proxy, roots)
		find = func(*url.URL) (*url.URL, error) { return address, nil }
	}
	sink := &slowSink{recorder: new(recorder), perEvent: 200 * time.Microsecond}
	e, err := engine.New(engine.Options{
		Token: simToken,
		API: &wire.API{Base: srv.APIURL(), Token: simToken, Client: &http.Client{
			Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		}},
		Intents: wire.AllIntents, Compression: c, Sink: sink, TLS: config, Reader: kind, QueueBytes: 32 << 10,
		Proxy: find,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()

	wait := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
			select {
			case err := <-ended:
				t.Fatalf("the engine ended: %v", err)
			default:
			}
			if time.Now().After(end) {
				t.Fatalf("no %s; %+v\n%v", what, e.Status(), srv.Ledger().Summary())
			}
		}
	}
	resumes, events := int64(5), int64(200)
	if through != nil {
		resumes, events = 1, 1
	}
	wait("resumes", func() bool { return e.Status().Counts.Resumes >= resumes && srv.Ledger().Summary().Events >= 2*events })
	srv.Calm()
	srv.Silence() // a machine that is slower than the events would never come to an end
	wait("readiness", func() bool { return e.Status().Ready == shards })
	var report sim.Report
	wait("quiet", func() bool {
		q := e.Status().Queue // what is in it may be claimed already, and so counts as lost
		sink.mu.Lock()
		defer sink.mu.Unlock()
		report = srv.Ledger().Check(sink.received)
		return report.Pending == 0 && q.Events == 0 && q.InFlight == 0
	})
	whole(t, report)
	if int64(report.Received) < events {
		t.Errorf("only %d events", report.Received)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if through != nil {
		targets := through.Targets()
		if n := srv.Ledger().Summary().Connects; len(targets) < n {
			t.Errorf("%d of %d connections went through the proxy", len(targets), n)
		}
		if host := strings.SplitAfter(srv.ResumeURL(), "://")[1]; !slices.Contains(targets, host) {
			t.Errorf("the resume host %s is none of those that the proxy was asked for: %q", host, targets)
		}
	}
	if t.Failed() {
		t.Logf("%+v\n%v", e.Status(), srv.Ledger().Summary())
	}
}

// Records of TLS that arrived with the handshake's last are read without anything
// more arriving: here the answer to the upgrade and Hello, in one record or two.
func TestHelloBehindHandshake(t *testing.T) {
	kinds := map[string]engine.ReaderKind{"goroutine": engine.ReaderGoroutine}
	if runtime.GOOS == "linux" {
		kinds["epoll"] = engine.ReaderEpoll
	}
	for name, kind := range kinds {
		for _, cut := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s/cut at %d", name, cut), func(t *testing.T) {
				t.Parallel()
				testHelloBehindHandshake(t, kind, cut)
			})
		}
	}
}

func testHelloBehindHandshake(t *testing.T, kind engine.ReaderKind, cut int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	e, err := engine.New(engine.Options{
		Token: simToken, GatewayURL: "wss://" + listener.Addr().String(), Shards: 1, TLS: &tls.Config{RootCAs: roots},
		Reader: kind, Sink: new(recorder),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		stop()
		<-ended
	}()
	raw, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	segment := &oneSegment{Conn: raw}
	conn := tls.Server(segment, &tls.Config{Certificates: web.TLS.Certificates})
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	segment.hold = true
	if _, err := ws.Upgrade(conn); err != nil {
		t.Fatal(err)
	}
	hello, err := ws.CompileFrame(ws.NewTextFrame([]byte(`{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}`)))
	if err != nil {
		t.Fatal(err)
	}
	conn.Write(hello[:cut])
	conn.Write(hello[cut:])
	if _, err := raw.Write(segment.held); err != nil {
		t.Fatal(err)
	}
	segment.hold = false
	h, err := ws.ReadHeader(conn)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := io.ReadAll(io.LimitReader(conn, h.Length))
	if err != nil {
		t.Fatal(err)
	}
	if ws.Cipher(payload, h.Mask, 0); h.OpCode != ws.OpText || !bytes.HasPrefix(payload, []byte(`{"op":2,`)) {
		t.Errorf("after Hello the client sent opcode %d: %s", h.OpCode, payload)
	}
}

// oneSegment keeps what is written while hold is set.
type oneSegment struct {
	net.Conn
	hold bool
	held []byte
}

func (c *oneSegment) Write(p []byte) (int, error) {
	if c.hold {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}
