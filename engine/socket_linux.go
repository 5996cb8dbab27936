// This file is a socket that never waits, to be put below crypto/tls.

//go:build linux

package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// maxUnsent bounds the bytes that wait for a peer which does not read. What a
// shard sends in a minute is 120 payloads of 4 KiB at most.
const maxUnsent = 1 << 20

// errAgain is what a read without anything to read answers. crypto/tls keeps a
// record that it has in part when an error is temporary.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing to read yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// socket is a connection that waits like any other for the handshakes, and
// never after adopt. It belongs to one goroutine at a time.
type socket struct {
	conn net.Conn // for the handshakes; nil after adopt
	fd   int
	out  []byte // what the kernel had no room for

	// Where the TLS records lie in what was read: crypto/tls may hold whole
	// ones that it has not returned, of which no poll would tell.
	tls     bool
	header  [5]byte
	have    int // bytes of header
	body    int // bytes of the record that are to come
	records int // whole ones read and not yet returned; 0 or less: none
}

// adopt takes the descriptor away from Go's poller.
func (s *socket) adopt() error {
	c, ok := s.conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("engine: a %T is no file descriptor, which the epoll reader needs", s.conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		var dup uintptr
		// It stays non-blocking: that is a flag of what both describe.
		dup, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
		s.fd = int(dup)
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	s.conn.Close()
	s.conn = nil
	return nil
}

func (s *socket) Read(p []byte) (int, error) {
	if s.conn != nil {
		n, err := s.conn.Read(p)
		s.count(p[:n])
		return n, err
	}
	for {
		n, err := syscall.Read(s.fd, p)
		switch {
		case n > 0:
			s.count(p[:n])
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err == syscall.EAGAIN:
			return 0, errAgain
		case err != syscall.EINTR:
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: err}
		}
	}
}

// count follows the headers of TLS records (RFC 8446, 5.1).
func (s *socket) count(p []byte) {
	if !s.tls {
		return
	}
	for len(p) > 0 {
		if s.body == 0 {
			n := copy(s.header[s.have:], p)
			s.have += n
			p = p[n:]
			if s.have < len(s.header) {
				return
			}
			s.have, s.body = 0, int(s.header[3])<<8|int(s.header[4])
			if s.body > 0 {
				continue
			}
		} else {
			n := min(len(p), s.body)
			s.body -= n
			p = p[n:]
			if s.body > 0 {
				return
			}
		}
		s.records++
	}
}

// Write takes all of p: what the kernel does not take now waits for flush.
func (s *socket) Write(p []byte) (int, error) {
	if s.conn != nil {
		return s.conn.Write(p)
	}
	n := 0
	if len(s.out) == 0 {
		var err error
		if n, err = s.write(p); err != nil {
			return n, err
		}
	}
	if len(s.out)+len(p)-n > maxUnsent {
		return n, errors.New("the peer does not read what is sent")
	}
	s.out = append(s.out, p[n:]...)
	return len(p), nil
}

// flush writes what waits, as far as the kernel takes it.
func (s *socket) flush() error {
	n, err := s.write(s.out)
	s.out = s.out[:copy(s.out, s.out[n:])]
	if len(s.out) == 0 {
		s.out = nil
	}
	return err
}

// write writes as much of p as the kernel takes.
func (s *socket) write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := syscall.Write(s.fd, p[n:])
		switch {
		case err == nil:
			n += m
		case err == syscall.EAGAIN:
			return n, nil
		case err != syscall.EINTR:
			return n, &net.OpError{Op: "write", Net: "tcp", Err: err}
		}
	}
	return n, nil
}

func (s *socket) Close() error {
	if s.conn != nil {
		return s.conn.Close()
	}
	return syscall.Close(s.fd)
}

// The deadlines are for the handshakes.

func (s *socket) SetDeadline(t time.Time) error {
	if s.conn == nil {
		return nil
	}
	return s.conn.SetDeadline(t)
}

func (s *socket) SetReadDeadline(t time.Time) error {
	if s.conn == nil {
		return nil
	}
	return s.conn.SetReadDeadline(t)
}

func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.conn == nil {
		return nil
	}
	return s.conn.SetWriteDeadline(t)
}

func (s *socket) LocalAddr() net.Addr {
	if s.conn == nil {
		return nil
	}
	return s.conn.LocalAddr()
}

func (s *socket) RemoteAddr() net.Addr {
	if s.conn == nil {
		return nil
	}
	return s.conn.RemoteAddr()
}
