// This file guards the way of an event from the bytes on a socket to those that
// the sink has: it allocates nothing. Not under the race detector, which makes
// sync.Pool forget at random.

//go:build !race

// Package bench holds the guards that need sockets, and in its folders what the
// gateway is measured with.
package bench

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zstd"

	"sluice/engine"
	"sluice/resume"
	"sluice/resume/file"
	"sluice/sinks"
	"sluice/sinks/stdio"
	"sluice/wire"
)

// server is one end of a gateway connection: it sends what it is told to.
type server struct {
	conn net.Conn
	in   interface {
		io.Writer
		Flush() error
	}
	out bytes.Buffer
}

// frame returns the frame of a message, in the connection's compression.
func (s *server) frame(msg string) []byte {
	op, payload := ws.OpText, []byte(msg)
	if s.in != nil {
		s.out.Reset()
		s.in.Write(payload) // into memory: it does not fail
		s.in.Flush()
		op, payload = ws.OpBinary, bytes.Clone(s.out.Bytes())
	}
	b, err := ws.CompileFrame(ws.NewFrame(op, true, payload))
	if err != nil {
		panic(err)
	}
	return b
}

func newServer(t *testing.T, conn net.Conn, c wire.Compression) *server {
	s := &server{conn: conn}
	switch c {
	case wire.CompressionZstd:
		enc, err := zstd.NewWriter(&s.out, zstd.WithWindowSize(1<<18), zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		s.in = enc
	case wire.CompressionZlib:
		s.in = zlib.NewWriter(&s.out)
	}
	return s
}

// signalling tells of every batch that the sink behind it has taken.
type signalling struct {
	sinks.Sink
	taken chan int
}

func (s signalling) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	err := s.Sink.Publish(ctx, batch, acked)
	s.taken <- len(batch)
	return err
}

// discard is a sink that takes everything.
type discard struct{}

func (discard) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	acked(len(batch))
	return nil
}

func (discard) Close() error { return nil }

func TestAllocs(t *testing.T) {
	readers := map[string]engine.ReaderKind{"goroutine": engine.ReaderGoroutine}
	if runtime.GOOS == "linux" {
		readers["epoll"] = engine.ReaderEpoll
	}
	for name, reader := range readers {
		for _, secure := range []bool{false, true} {
			for _, c := range []wire.Compression{wire.CompressionZstd, wire.CompressionZlib, wire.CompressionNone} {
				for _, output := range outputs {
					t.Run(fmt.Sprintf("%s/TLS %v/%v/%s", name, secure, c, output), func(t *testing.T) {
						var sink sinks.Sink = discard{}
						if output == "stdio" {
							sink = stdio.NewSink(io.Discard, stdio.JSON)
						}
						allowed := 0.0
						if secure {
							allowed = 1 // crypto/tls allocates once for every record that it starts
						}
						if n := allocs(t, reader, secure, c, sink, nil); n > allowed {
							t.Errorf("%v allocations for an event, %v allowed", n, allowed)
						}
					})
				}
			}
		}
	}
}

// savesCounted counts what is saved.
type savesCounted struct {
	resume.Store
	saves atomic.Int64
}

func (c *savesCounted) Save(ctx context.Context, changes resume.State) error {
	c.saves.Add(1)
	return c.Store.Save(ctx, changes)
}

// With checkpoints an event costs no allocation either; a checkpoint does, here every 5 ms, of which a busy machine makes
// more for each event.
func TestCheckpointAllocs(t *testing.T) {
	const each = 20 // allocations of a checkpoint, and more
	dir := t.TempDir()
	store, err := file.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	counted := &savesCounted{Store: store}
	n := allocs(t, engine.ReaderGoroutine, false, wire.CompressionZstd, stdio.NewSink(io.Discard, stdio.JSON), counted)
	if saves := counted.saves.Load(); n*runs > float64(each*saves) {
		t.Errorf("%v allocations for an event, 0 allowed but for those of %d checkpoints", n, saves)
	}
	// READY is event 1; AllocsPerRun runs its function once more.
	if s, err := file.Read(dir); err != nil || s.Checkpoints[0].Seq != 1+warm+runs+1 {
		t.Errorf("stored %+v, %v", s, err)
	}
}

// path is an engine with one shard, whose Discord the test is.
type path struct {
	*server
	t      *testing.T
	engine *engine.Engine
	stop   func()
	ended  chan error
	next   int
}

// startPath starts an engine and takes its connection as far as the session's beginning. Its
// checkpoints are written to store, if there is one.
func startPath(t *testing.T, reader engine.ReaderKind, secure bool, c wire.Compression, sink sinks.Sink, store resume.Store) *path {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	scheme, config := "ws", &tls.Config{}
	if secure {
		test := httptest.NewUnstartedServer(nil) // for its certificate
		test.StartTLS()
		defer test.Close()
		scheme = "wss"
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AddCert(test.Certificate())
		l = tls.NewListener(l, &tls.Config{Certificates: test.TLS.Certificates})
	}
	var checkpoints engine.Checkpoints
	if store != nil {
		checkpoints = &resume.Keeper{Store: store, Log: slog.New(slog.DiscardHandler)}
	}
	e, err := engine.New(engine.Options{
		Checkpoints: checkpoints, CheckpointEvery: 5 * time.Millisecond, Token: "t", GatewayURL: scheme + "://" + l.Addr().String(), Shards: 1, Compression: c, TLS: config,
		Sink: sink, Reader: reader, QueueBytes: 1 << 20, PacketCounts: true,
		PollInterval: time.Millisecond, // each event waits for it
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	p := &path{t: t, engine: e, stop: stop, ended: make(chan error, 1)}
	go func() { p.ended <- e.Run(ctx) }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := ws.Upgrade(conn); err != nil {
		t.Fatal(err)
	}
	p.server = newServer(t, conn, c)
	p.send(p.frame(`{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":3600000}}`))
	if _, err := conn.Read(make([]byte, 4096)); err != nil { // the Identify, or a part of it
		t.Fatal(err)
	}
	p.send(p.frame(`{"t":"READY","s":1,"op":0,"d":{"v":10,"session_id":"abc","resume_gateway_url":"wss://resume","guilds":[],"user":{"id":"1"}}}`))
	return p
}

func (p *path) send(frame []byte) {
	if _, err := p.conn.Write(frame); err != nil {
		p.t.Fatal(err)
	}
}

// event returns the frame of the next event, of about 0.75 kB.
func (p *path) event() []byte {
	i := p.next
	p.next++
	return p.frame(fmt.Sprintf(`{"t":"MESSAGE_CREATE","s":%d,"op":0,"d":{"id":"%d","content":"%x","author":{"id":"%d","username":"user%d"},`+
		`"mentions":[],"embeds":[],"timestamp":"2026-01-02T12:34:56.789000+00:00","channel_id":"113000000000000001","padding":"%0500d"}}`,
		i+2, i*7919, i*104729, i%97, i%97, i))
}

func (p *path) end() {
	p.stop()
	if err := <-p.ended; err != nil {
		p.t.Error(err)
	}
}

// allocs returns how often the process allocates for an event that goes from a
// socket, through an engine, to the sink.
func allocs(t *testing.T, reader engine.ReaderKind, secure bool, c wire.Compression, sink sinks.Sink, store resume.Store) float64 {
	taken := make(chan int, 1)
	p := startPath(t, reader, secure, c, signalling{sink, taken}, store)
	defer p.end()
	<-taken
	frames := make([][]byte, warm+runs+1)
	for i := range frames {
		frames[i] = p.event()
	}
	next := 0
	event := func() {
		p.send(frames[next])
		next++
		if n := <-taken; n != 1 {
			t.Fatalf("%d events taken", n)
		}
	}
	for range warm {
		event()
	}
	return testing.AllocsPerRun(runs, event)
}
