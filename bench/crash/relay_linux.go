// This file is the way of one gateway to its Redis or to Discord, which can be cut.

package crash

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
)

// relay carries connections to a server. While it is cut, nothing arrives and nothing is closed, as with a network
// that loses everything; what was sent meanwhile arrives when it is mended.
type relay struct {
	l  net.Listener
	to string // empty: it is an HTTP proxy, and CONNECT says where

	mu    sync.Mutex
	whole chan struct{} // closed while it is not cut
}

func newRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{l: l, to: to, whole: make(chan struct{})}
	close(r.whole)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.carry(c)
		}
	}()
	return r, nil
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole = make(chan struct{})
}

func (r *relay) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.whole)
}

// wait waits while it is cut.
func (r *relay) wait() {
	r.mu.Lock()
	whole := r.whole
	r.mu.Unlock()
	<-whole
}

// carry carries a connection, until one side ends it.
func (r *relay) carry(c net.Conn) {
	defer c.Close()
	r.wait()
	to := r.to
	if to == "" {
		req, err := http.ReadRequest(bufio.NewReader(c)) // behind which nothing comes before the answer
		if err != nil || req.Method != http.MethodConnect {
			return
		}
		to = req.Host
	}
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	if r.to == "" {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	}
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		defer func() { ended <- struct{}{} }()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			r.wait()
			if _, e := to.Write(buf[:n]); err != nil || e != nil {
				return
			}
		}
	}
	go pass(s, c)
	go pass(c, s)
	<-ended
}
