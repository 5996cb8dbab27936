// This file is the poller of Linux: an epoll set, in which epoll_wait blocks a
// thread: in Go's poller the set would wake a thread at every event, however seldom the
// loop looks (BenchmarkWait).

package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// epoll is a poller. Its descriptors are its own: that a wait for them fails
// is a bug, and panics.
type epoll struct {
	fd     int
	events [maxReady]syscall.EpollEvent

	mu   sync.Mutex
	bell int // an eventfd in the set, slot -1; -1 after close
}

func newPoller() (poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("engine: epoll_create: %w", err)
	}
	bell, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		syscall.Close(fd)
		return nil, fmt.Errorf("engine: eventfd: %w", errno)
	}
	p := &epoll{fd: fd, bell: int(bell)}
	if err := p.control(syscall.EPOLL_CTL_ADD, p.bell, syscall.EPOLLIN, -1); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *epoll) control(op, fd int, events uint32, slot int) error {
	if err := syscall.EpollCtl(p.fd, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(slot)}); err != nil {
		return fmt.Errorf("engine: epoll_ctl: %w", err)
	}
	return nil
}

func (p *epoll) wait(ready []readySlot, d time.Duration) int {
	ms := -1
	if d >= 0 {
		ms = int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	// Under load something is ready, and a call that does not wait need not
	// involve the scheduler: one that does has its processor taken away and, what
	// costs more, keeps the runtime's monitor awake.
	found, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd),
		uintptr(unsafe.Pointer(&p.events)), uintptr(min(len(ready), maxReady)), 0, 0, 0)
	if errno == 0 && found == 0 && ms != 0 {
		n, err := syscall.EpollWait(p.fd, p.events[:min(len(ready), maxReady)], ms)
		found = uintptr(max(n, 0))
		if err != nil {
			errno = err.(syscall.Errno)
		}
	}
	switch errno {
	case 0:
	case syscall.EINTR:
		found = 0
	default:
		panic("engine: epoll_wait: " + errno.Error())
	}
	n := 0
	for i := range found {
		e := &p.events[i]
		if e.Fd < 0 {
			var count [8]byte
			syscall.Read(p.bell, count[:])
			continue
		}
		var what readiness
		if e.Events&syscall.EPOLLOUT != 0 {
			what |= writable
		}
		if e.Events&^syscall.EPOLLOUT != 0 {
			what |= readable
		}
		ready[n] = readySlot{int(e.Fd), what}
		n++
	}
	return n
}

func (p *epoll) ring() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bell >= 0 {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		syscall.Write(p.bell, one[:]) // fails only when it rings already
	}
}

func (p *epoll) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	syscall.Close(p.fd)
	syscall.Close(p.bell)
	p.bell = -1
}

// adopt takes the descriptor away from Go's poller.
func (p *epoll) adopt(conn net.Conn) (rawSocket, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("engine: a %T is no file descriptor, which the epoll reader needs", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd uintptr
	var errno syscall.Errno
	err = raw.Control(func(old uintptr) {
		// The copy stays non-blocking: that is a flag of what both describe.
		fd, _, errno = syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	if errno != 0 {
		return nil, errno
	}
	conn.Close()
	return &epollSocket{p, int(fd)}, nil
}

// epollSocket is a non-blocking socket. The scheduler takes no part in its reads, which
// do not wait either.
type epollSocket struct {
	poller *epoll
	fd     int
}

// watch takes a socket for which nothing is wanted out of the set: its errors
// would be returned again and again.
func (s *epollSocket) watch(slot int, was, want readiness) error {
	var events uint32
	if want&readable != 0 {
		events = syscall.EPOLLIN | syscall.EPOLLRDHUP
	}
	if want&writable != 0 {
		events |= syscall.EPOLLOUT
	}
	op := syscall.EPOLL_CTL_MOD
	switch {
	case want == 0:
		op = syscall.EPOLL_CTL_DEL
	case was == 0:
		op = syscall.EPOLL_CTL_ADD
	}
	return s.poller.control(op, s.fd, events, slot)
}

func (s *epollSocket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(s.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch {
		case errno == 0 && n > 0:
			return int(n), nil
		case errno == 0:
			return 0, io.EOF
		case errno == syscall.EAGAIN:
			return 0, errAgain
		case errno != syscall.EINTR:
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: errno}
		}
	}
}

func (s *epollSocket) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := syscall.Write(s.fd, p[n:])
		switch {
		case err == nil:
			n += m
		case err == syscall.EAGAIN:
			return n, errAgain
		case err != syscall.EINTR:
			return n, &net.OpError{Op: "write", Net: "tcp", Err: err}
		}
	}
	return n, nil
}

func (s *epollSocket) linger(d time.Duration) {
	syscall.Shutdown(s.fd, syscall.SHUT_WR) // fails when the peer has closed
	f := os.NewFile(uintptr(s.fd), "socket")
	f.SetReadDeadline(time.Now().Add(d))
	io.Copy(io.Discard, f)
	f.Close()
}

func (s *epollSocket) Close() error { return syscall.Close(s.fd) }
