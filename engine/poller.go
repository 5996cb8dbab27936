// This file declares what a loop needs of the system to wait for many sockets
// at once.

package engine

import (
	"io"
	"net"
	"time"
)

// readiness is a set of what a socket is ready for, or is watched for. One that
// has failed or whose peer has closed is readable: a read returns that.
type readiness uint8

const (
	readable readiness = 1 << iota
	writable
)

// readySlot is the slot of a socket that is ready.
type readySlot struct {
	slot int
	what readiness
}

// poller finds which sockets of a loop are ready, for as long as they are:
// it is level-triggered. It belongs to the loop's goroutine, but for ring and
// adopt.
type poller interface {
	// adopt makes a socket that never waits of a connection, whose
	// handshakes are over. On success conn must not be used any more.
	adopt(conn net.Conn) (rawSocket, error)
	// wait fills ready with sockets that are ready and returns how many. It
	// waits for the first, for ring, or for d to pass; for as long as it takes
	// if d is negative.
	wait(ready []readySlot, d time.Duration) int
	// ring ends the wait in progress or else the next. It may be called
	// after close.
	ring()
	close()
}

// rawSocket is a socket that never waits. Read and Write return errAgain when
// they would have to; Write then may have taken some of it.
type rawSocket interface {
	io.ReadWriteCloser
	// watch has the poller that adopted the socket watch it, as slot, for want in place of was;
	// none takes it out. It is called before Close, by the loop's goroutine. It fails where the
	// system has no room for one more (fs.epoll.max_user_watches); then was still holds.
	watch(slot int, was, want readiness) error
	// linger ends the sending side, waits until the peer has closed or d has
	// passed, and closes. Closed at once, with something unread, the system would
	// reset the connection, and the peer lose what was sent to it last.
	linger(d time.Duration)
}

// errAgain is what reading from a socket answers on which nothing has arrived,
// and writing to a full one. crypto/tls keeps a record that it has in part when
// an error is temporary.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "not ready" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }
