// This file is a proxy for tests.

// Package proxytest has a small proxy on the loopback interface.
package proxytest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Options say what kind of proxy it is. The zero value is one that speaks HTTP.
type Options struct {
	SOCKS       bool             // it speaks SOCKS5 rather than HTTP
	Certificate *tls.Certificate // it speaks HTTP over TLS
	User        string           // that it wants, with Password; empty: none
	Password    string
	// Resolve returns the address to connect to for one that was asked for. nil: that one.
	Resolve func(address string) string
}

// Server is a proxy. Its methods may be called by any goroutine.
type Server struct {
	opts     Options
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	targets []string
	closed  bool
}

// New starts a proxy.
func New(o Options) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, listener: l, conns: make(map[net.Conn]struct{})}
	if o.Certificate != nil {
		s.listener = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*o.Certificate}})
	}
	s.running.Go(s.accept)
	return s, nil
}

// Addr returns the proxy's host and port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Targets returns the addresses that were asked for, in their order.
func (s *Server) Targets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.targets)
}

// Close ends the proxy and its connections.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.listener.Close()
	s.running.Wait()
}

// hold has Close close c; it reports false, with c closed, after Close.
func (s *Server) hold(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) drop(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.hold(conn) {
			return
		}
		s.running.Go(func() {
			defer s.drop(conn)
			s.serve(conn)
		})
	}
}

// serve does what one client asks for.
func (s *Server) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	ask, answer := s.askHTTP, answerHTTP
	if s.opts.SOCKS {
		ask, answer = s.askSOCKS, answerSOCKS
	}
	target, err := ask(r, conn)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.targets = append(s.targets, target)
	s.mu.Unlock()
	if s.opts.Resolve != nil {
		target = s.opts.Resolve(target)
	}
	other, err := net.Dial("tcp", target)
	answer(conn, err == nil)
	if err != nil || !s.hold(other) {
		return
	}
	defer s.drop(other)
	back := make(chan struct{})
	go func() {
		defer close(back)
		io.Copy(conn, other)
		conn.Close()
	}()
	io.Copy(other, r)
	other.Close()
	<-back
}

var errRefused = errors.New("refused")

func (s *Server) askHTTP(r *bufio.Reader, w io.Writer) (target string, err error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return "", err
	}
	want := ""
	if s.opts.User != "" {
		want = "Basic " + base64.StdEncoding.EncodeToString([]byte(s.opts.User+":"+s.opts.Password))
	}
	switch {
	case req.Method != http.MethodConnect:
		io.WriteString(w, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
	case req.Header.Get("Proxy-Authorization") != want:
		io.WriteString(w, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
	default:
		return req.Host, nil
	}
	return "", errRefused
}

func answerHTTP(w io.Writer, connected bool) {
	if connected {
		io.WriteString(w, "HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n")
	} else {
		io.WriteString(w, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
	}
}

func (s *Server) askSOCKS(r *bufio.Reader, w io.Writer) (target string, err error) {
	text := func() string {
		n, _ := r.ReadByte()
		b := make([]byte, n)
		io.ReadFull(r, b) // what is cut short is refused for its zeros
		return string(b)
	}
	if version, err := r.ReadByte(); err != nil || version != 5 {
		return "", errRefused
	}
	method := byte(0)
	if s.opts.User != "" {
		method = 2
	}
	if methods := text(); !slices.Contains([]byte(methods), method) {
		w.Write([]byte{5, 0xff})
		return "", errRefused
	}
	w.Write([]byte{5, method})
	if method == 2 {
		version, err := r.ReadByte()
		if user, password := text(), text(); err != nil || version != 1 || user != s.opts.User || password != s.opts.Password {
			w.Write([]byte{1, 1})
			return "", errRefused
		}
		w.Write([]byte{1, 0})
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	var host string
	switch head[3] {
	case 1, 4:
		ip := make(net.IP, map[byte]int{1: 4, 4: 16}[head[3]])
		if _, err := io.ReadFull(r, ip); err != nil {
			return "", err
		}
		host = ip.String()
	case 3:
		host = text()
	default:
		return "", fmt.Errorf("address of type %d", head[3])
	}
	var port [2]byte
	if _, err := io.ReadFull(r, port[:]); err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port[:])))), nil
}

func answerSOCKS(w io.Writer, connected bool) {
	if connected {
		w.Write([]byte{5, 0, 0, 3, 4, 't', 'e', 's', 't', 0, 0})
	} else {
		w.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
	}
}
