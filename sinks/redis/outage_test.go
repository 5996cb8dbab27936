//go:build unix

// This file tests the sink through connections that end and servers that are away.

package redis

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// cutter is a proxy that ends connections, after a random number of bytes, in either
// direction.
type cutter struct {
	net.Listener
	to    string
	calm  chan struct{} // closed: no more
	limit int
}

func newCutter(t *testing.T, to string, limit int) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: to, calm: make(chan struct{}), limit: limit}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn)
		}
	}()
	return c
}

func (c *cutter) serve(conn net.Conn) {
	defer conn.Close()
	up, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer up.Close()
	limit := int64(c.limit + rand.IntN(c.limit))
	select {
	case <-c.calm:
		limit = 1 << 40
	default:
	}
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{up, conn}, {conn, up}} {
		n := limit
		if way[0] == conn {
			n = limit / 100 // answers are short
		}
		go func() {
			io.CopyN(way[0], way[1], n)
			done <- struct{}{}
		}()
	}
	<-done
}

// Connections that end in the middle of batches and answers: nothing is lost,
// repeated or out of order.
func TestCuts(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := newCutter(t, srv.Addr, 60_000)
	h := start(t, Options{}, c.Addr().String())
	h.publish(60_000, "A", "B")
	close(c.calm)
	h.settled()
	whole(t, srv.Addr, 60_000, "A", "B")
	if h.sink.Status().Retried < 5 {
		t.Errorf("only %d retries", h.sink.Status().Retried)
	}
	if len(h.aside) > 0 {
		t.Errorf("set aside: %q", h.aside)
	}
}

// Restarts of a server that keeps what it has acknowledged.
func TestRestarts(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	h := start(t, Options{}, srv.Addr)
	const all, restarts = 60_000, 6
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range restarts {
			h.wait("the next part", func() bool { return h.count() >= (i+1)*all/(restarts+2) })
			if i%2 == 0 {
				srv.Kill()
			} else {
				srv.Stop()
			}
			srv.Restart()
		}
	})
	h.publish(all, "A", "B")
	wg.Wait()
	h.settled()
	whole(t, srv.Addr, all, "A", "B")
	if h.sink.Status().Retried == 0 {
		t.Error("no batch was sent again")
	}
}

func TestAbsentAtStart(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.Kill()
	h := start(t, Options{}, srv.Addr)
	if err := h.sink.Open(t.Context()); err == nil || errors.Is(err, sinks.ErrConfig) {
		t.Errorf("Open without a server: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.sink.Publish(ctx, []sinks.Event{{}}, h.ack); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish without a server: %v", err)
	}
	h.wait("word of it", func() bool { return strings.Contains(h.log.String(), "unavailable; buffering events") })
	srv.Restart()
	h.publish(100, "A")
	h.settled()
	whole(t, srv.Addr, 100, "A")
	if n := strings.Count(h.log.String(), "unavailable; buffering events"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if !strings.Contains(h.log.String(), "available again") {
		t.Error("the end of the outage is not told")
	}
}

// A paused server: what was in flight is written when it goes on, and once.
func TestPaused(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	o, err := NewClientOption([]string{srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.ConnWriteTimeout = 500 * time.Millisecond
	h := start(t, Options{Client: o})
	h.publish(1000, "A")
	srv.Pause()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.publish(2000, "A")
	}()
	h.wait("word of it", func() bool { return strings.Contains(h.log.String(), "unavailable; buffering events") })
	srv.Resume()
	<-done
	h.settled()
	whole(t, srv.Addr, 3000, "A")
}
