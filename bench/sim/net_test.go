// This file tests the server over real sockets, and the network in memory.

package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestSockets: over TCP and TLS, with each compression: events, a cut, a
// Resume, and nothing is left behind.
func TestSockets(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, compress := range compressions {
			srv, err := New(quick(Options{TLS: secure, Rate: 1000, ReplayLimit: 1 << 20, GuildInterval: -1, LargeEvents: -1}))
			if err != nil {
				t.Fatal(err)
			}
			d := dialer{srv: srv}
			if b := budget(t, d); b.URL != srv.GatewayURL() {
				t.Errorf("%+v", b)
			}
			c, r := d.start(t, query(compress), 0, 1, allIntents)
			got := []Received{{Session: r.ID, Seq: 1}}
			for len(got) < 1000 {
				got = append(got, received(0, r.ID, c.want(0, "")))
			}
			srv.Cut(0, true)
			for {
				m, err := c.next()
				if err != nil {
					break
				}
				got = append(got, received(0, r.ID, m))
			}
			c.drop()
			c = d.mustDial(t, r.URL, query(compress))
			c.want(10, "")
			c.send(resume(r.ID, got[len(got)-1].Seq))
			for resumed := false; !resumed; {
				m := c.want(0, "")
				resumed = m.T == "RESUMED"
				got = append(got, received(0, r.ID, m))
			}
			for range 100 {
				got = append(got, received(0, r.ID, c.want(0, "")))
			}
			if rep := srv.Ledger().Check(got); rep.Lost+rep.Repeated+rep.OutOfOrder+rep.Unknown != 0 {
				t.Error(rep)
			}
			c.close(1000)
			c.wantClose()
			c.drop()
			srv.Close()
		}
	}
	stacks := make([]byte, 1<<20)
	for range 1000 {
		stacks = stacks[:runtime.Stack(stacks[:cap(stacks)], true)]
		if !bytes.Contains(stacks, []byte("sim.(*conn)")) && !bytes.Contains(stacks, []byte("net/http.(*conn)")) {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("goroutines are left:\n%s", stacks)
}

// The network in memory behaves as TCP does: order, deadlines, half-closed connections, resets.
func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		l, err := n.Listen("host")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen("host:80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Error(err)
		}
		if _, err := n.DialContext(t.Context(), "tcp", "other:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		pair := func() (*memConn, *memConn) {
			a, err := n.DialContext(t.Context(), "tcp", "host:80")
			if err != nil {
				t.Fatal(err)
			}
			b, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return a.(*memConn), b.(*memConn)
		}
		buf := make([]byte, 100)

		a, b := pair()
		a.Write([]byte("hello"))
		a.Close()
		if k, err := b.Read(buf); string(buf[:k]) != "hello" || err != nil {
			t.Errorf("%q %v", buf[:k], err)
		}
		if _, err := b.Read(buf); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
		if _, err := b.Write(buf); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed end: %v", err)
		}
		if _, err := a.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of a closed end: %v", err)
		}

		a, b = pair()
		a.CloseWrite()
		if _, err := b.Read(buf); err != io.EOF {
			t.Error(err)
		}
		b.Write([]byte("answer"))
		if k, err := a.Read(buf); string(buf[:k]) != "answer" {
			t.Errorf("%q %v", buf[:k], err)
		}

		a, b = pair()
		a.Write([]byte("lost"))
		a.Reset()
		if _, err := b.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		if _, err := b.Write(buf); !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}

		a, b = pair()
		b.Blackhole()
		if _, err := a.Write(buf); err != nil {
			t.Error(err)
		}
		begin := time.Now()
		b.Close()
		a.SetReadDeadline(begin.Add(time.Hour))
		var timeout net.Error
		if _, err := a.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() ||
			time.Since(begin) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(begin))
		}

		// A full buffer makes the writer wait.
		a, b = pair()
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		if k, err := a.Write(make([]byte, 2*memBuffer)); k != memBuffer || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d %v", k, err)
		}
		a.SetWriteDeadline(time.Time{})
		go func() {
			a.Write([]byte(strings.Repeat("x", memBuffer)))
			a.Close()
		}()
		if rest, err := io.ReadAll(b); len(rest) != 2*memBuffer || err != nil {
			t.Errorf("%d %v", len(rest), err)
		}

		// A listener that goes away ends the dials that wait for it.
		l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.DialContext(ctx, "tcp", "host:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
	})
}
