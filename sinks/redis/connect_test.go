//go:build unix

// This file tests how a client connects.

package redis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"sluice/sinks/sinktest/redistest"
)

// A server that takes a connection and says nothing does not outlast the context.
func TestConnectEndsWithContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o, err := NewClientOption([]string{l.Addr().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if c, err := l.Accept(); err == nil {
			defer c.Close()
			c.Read(make([]byte, 1)) // it is in the middle of it
			cancel()
			<-t.Context().Done()
		}
	}()
	if _, err := Connect(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("connected with %v", err)
	}
}

// A sink whose Redis answers keeps the connection of Open; once it is closed it opens no more.
func TestOpen(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	h := start(t, Options{}, srv.Addr)
	for range 2 {
		if err := h.sink.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(srv.CLI("CLIENT", "LIST"), "name=sluice "); n != 1 {
		t.Errorf("%d connections", n)
	}
	h.publish(100, "A")
	h.settled()
	whole(t, srv.Addr, 100, "A")
	h = start(t, Options{}, srv.Addr)
	h.sink.Close()
	if err := h.sink.Open(t.Context()); err == nil {
		t.Error("a closed sink opens")
	}
	if _, err := New(Options{Body: rawBody, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a sink without an address")
	}
}
