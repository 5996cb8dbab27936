// This file tests who has to go for whom.

package admin

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A burst of connections leaves one that was accepted just before it the time to ask, and each of its
// own that asks is answered, however many others do not.
func TestProbeInBurst(t *testing.T) {
	o := parts(new(asked))
	o.Address = "127.0.0.1:0"
	s := start(t, o, func(l *limits) { l.connections, l.grace = 16, patience })
	var probes, others []net.Conn
	for range 8 {
		probes = append(probes, s.dial(t, "http.address"))
		for range 16 {
			others = append(others, s.dial(t, "http.address"))
		}
	}
	for i := len(probes) - 1; i >= 0; i-- { // the last are not accepted yet
		io.WriteString(probes[i], request("GET /livez"))
	}
	for _, c := range others[:len(others)-8] {
		c.Close()
	}
	for i, c := range probes {
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != 200 {
			t.Errorf("probe %d: %v", i, err)
		}
		c.Close()
	}
	for _, c := range others {
		c.Close()
	}
}

// Who has to go for another is the oldest that asks for nothing, once it has had its time, which begins when it is read and is longer for one that says nothing.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan int, 10)
		s := &connections{max: 2, grace: time.Second}
		closed := make(chan struct{})
		add := func(n int) *conn {
			c := s.add(&closes{n: n, to: gone, says: n != 3}, closed)
			if c != nil {
				time.AfterFunc(200*time.Millisecond, func() { c.Read(nil) })
			}
			return c
		}
		begun := time.Now()
		first := add(1)
		first.answering(true)
		time.Sleep(400 * time.Millisecond)
		second := add(2)
		add(3)
		if took := time.Since(begun); took < 1600*time.Millisecond || took > 1600*time.Millisecond+roomEvery || <-gone != 2 {
			t.Errorf("after %v", took)
		}
		second.Close() // is that of its owner, again
		if n := <-gone; n != 2 {
			t.Error(n)
		}
		first.answering(false)
		if begun := time.Now(); add(4) == nil || time.Since(begun) != 0 || <-gone != 1 {
			t.Errorf("after %v", time.Since(begun))
		}
		begun = time.Now() // 4 goes before 3, of which nothing has come
		if add(5); time.Since(begun) < 1200*time.Millisecond || time.Since(begun) > 1200*time.Millisecond+roomEvery || <-gone != 4 {
			t.Errorf("after %v", time.Since(begun))
		}
		close(closed)
		if add(6) != nil {
			t.Error("added after the end")
		}
	})
}

// closes is a connection that says when it is closed.
type closes struct {
	net.Conn
	n    int
	to   chan int
	says bool // something
}

func (c *closes) Close() error { c.to <- c.n; return nil }

func (c *closes) Read(p []byte) (int, error) {
	if c.says {
		return 1, nil
	}
	return 0, io.EOF
}

// For another answer the one goes of which nothing was read for the longest time, none that is being
// made, and none that is read.
func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan int, 10)
		as := newAnswers(2, time.Second)
		begin := func(n int) (*answer, time.Duration) {
			begun := time.Now()
			a := as.begin(t.Context(), &conn{Conn: &closes{n: n, to: gone}})
			return a, time.Since(begun)
		}
		made, _ := begin(1)
		read, _ := begin(2)
		read.move()
		go func() {
			for range 30 {
				time.Sleep(100 * time.Millisecond)
				read.move()
			}
		}()
		time.Sleep(2 * time.Second)
		if _, took := begin(3); took < 1900*time.Millisecond || took > 2*time.Second+roomEvery || <-gone != 2 {
			t.Errorf("after %v", took)
		}
		made.end()
		if _, took := begin(4); took != 0 {
			t.Errorf("after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if as.begin(ctx, nil) != nil {
			t.Error("there is room beside two that are being made")
		}
	})
}
