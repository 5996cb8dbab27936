// This file is a socket that never waits, to be put below crypto/tls.

package engine

import (
	"errors"
	"net"
	"time"
)

// maxUnsent bounds the bytes that wait for a peer which does not read. What a
// shard sends in a minute is 120 payloads of 4 KiB at most.
const maxUnsent = 1 << 20

// socket is a connection that waits like any other for the handshakes, and
// never after adopt. It belongs to one goroutine at a time.
type socket struct {
	conn net.Conn  // for the handshakes; nil after adopt
	raw  rawSocket // after adopt
	out  []byte    // what the system had no room for

	// Where the TLS records lie in what was read: crypto/tls may hold whole
	// ones that it has not returned, of which no poll would tell.
	tls     bool
	header  [5]byte
	have    int // bytes of header
	body    int // bytes of the record that are to come
	records int // whole ones read and not yet returned; 0 or less: none
}

// adopt ends the time of handshakes.
func (s *socket) adopt(p poller) error {
	raw, err := p.adopt(s.conn)
	if err != nil {
		return err
	}
	s.conn, s.raw = nil, raw
	return nil
}

func (s *socket) Read(p []byte) (n int, err error) {
	if s.conn != nil {
		n, err = s.conn.Read(p)
	} else {
		n, err = s.raw.Read(p)
	}
	if s.tls {
		s.count(p[:n])
	}
	return n, err
}

// count follows the headers of TLS records (RFC 8446, 5.1).
func (s *socket) count(p []byte) {
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

// Write takes all of p: what the system does not take now waits for flush.
func (s *socket) Write(p []byte) (n int, err error) {
	if s.conn != nil {
		return s.conn.Write(p)
	}
	if len(s.out) == 0 {
		if n, err = s.raw.Write(p); err != nil && err != errAgain {
			return n, err
		}
	}
	if len(s.out)+len(p)-n > maxUnsent {
		return n, errors.New("the peer does not read what is sent")
	}
	s.out = append(s.out, p[n:]...)
	return len(p), nil
}

// flush writes what waits, as far as the system takes it.
func (s *socket) flush() error {
	n, err := s.raw.Write(s.out)
	s.out = s.out[:copy(s.out, s.out[n:])]
	if len(s.out) == 0 {
		s.out = nil
	}
	if err == errAgain {
		return nil
	}
	return err
}

func (s *socket) Close() error {
	if s.conn != nil {
		return s.conn.Close()
	}
	return s.raw.Close()
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
