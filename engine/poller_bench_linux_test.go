// This file measures ways to wait for many sockets, at a fixed rate: CPU for an
// event, without that of the writer.

package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// nested is a poller whose epoll set lies in Go's own, so that waiting parks the
// goroutine instead of a thread.
type nested struct {
	*epoll
	file *os.File
	conn syscall.RawConn
}

func newNested() (*nested, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	n := &nested{epoll: p.(*epoll)}
	if err := syscall.SetNonblock(n.fd, true); err != nil { // what os.NewFile takes to the poller
		return nil, err
	}
	n.file = os.NewFile(uintptr(n.fd), "epoll")
	n.conn, err = n.file.SyscallConn()
	return n, err
}

func (n *nested) wait(ready []readySlot, d time.Duration) (told int) {
	var deadline time.Time
	if d >= 0 {
		deadline = time.Now().Add(d)
	}
	n.file.SetReadDeadline(deadline)
	n.conn.Read(func(uintptr) bool {
		told = n.epoll.wait(ready, 0)
		return told > 0
	})
	return told
}

func (n *nested) close() { n.file.Close() }

// cpu returns the CPU time of a thread or the process.
func cpu(b *testing.B, who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const rusageThread = 1 // RUSAGE_THREAD, which syscall does not have

// BenchmarkWait has 750 bytes arrive on one of 64 sockets after the other, 20,000
// times a second. "latency-µs" is the mean from write to read.
func BenchmarkWait(b *testing.B) {
	const sockets, size, rate = 64, 750, 20_000
	for _, interval := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond} {
		for _, kind := range []string{"blocking", "nested", "goroutines"} {
			if kind == "goroutines" && interval > 0 {
				continue
			}
			b.Run(fmt.Sprintf("%s/interval %v", kind, interval), func(b *testing.B) {
				ours, theirs := loopback(b, sockets)
				sent := make([]time.Time, b.N)
				arrived := make(chan time.Duration, 1)
				got := 0
				var late time.Duration
				note := func(n int) {
					now := time.Now()
					for range n / size {
						late += now.Sub(sent[got])
						got++
					}
					if got == b.N {
						arrived <- late
					}
				}
				switch kind {
				case "goroutines":
					counted := make(chan int)
					for _, c := range ours {
						go func() {
							buf := make([]byte, readBuffer)
							for {
								n, err := c.Read(buf)
								if err != nil {
									return
								}
								counted <- n
							}
						}()
					}
					go func() {
						for got < b.N {
							note(<-counted)
						}
					}()
				default:
					p, err := newPoller()
					if kind == "nested" {
						p, err = newNested()
					}
					if err != nil {
						b.Fatal(err)
					}
					go wait(p, ours, interval, func() bool { return got < b.N }, note)
				}
				runtime.LockOSThread() // the writer's own time is left out
				defer runtime.UnlockOSThread()
				msg := make([]byte, size)
				all, own := cpu(b, syscall.RUSAGE_SELF), cpu(b, rusageThread)
				began := time.Now()
				b.ResetTimer()
				for i := range b.N {
					for time.Since(began) < time.Duration(i)*time.Second/rate {
					}
					sent[i] = time.Now()
					if _, err := theirs[i%sockets].Write(msg); err != nil {
						b.Fatal(err)
					}
				}
				sum := <-arrived
				all, own = cpu(b, syscall.RUSAGE_SELF)-all, cpu(b, rusageThread)-own
				b.ReportMetric(float64((all-own).Nanoseconds())/float64(b.N), "cpu-ns/op")
				b.ReportMetric(sum.Seconds()*1e6/float64(b.N), "latency-µs")
			})
		}
	}
}

// wait reads from the connections through a poller, as a loop does.
func wait(p poller, conns []net.Conn, interval time.Duration, more func() bool, note func(n int)) {
	var socks []rawSocket
	for i, c := range conns {
		sock, err := p.adopt(c)
		if err != nil {
			panic(err)
		}
		sock.watch(i, 0, readable)
		socks = append(socks, sock)
	}
	told := make([]readySlot, maxReady)
	buf := make([]byte, readBuffer)
	var last time.Time
	for more() {
		if d := interval - time.Since(last); interval > 0 && d > 0 {
			time.Sleep(d)
		}
		n := p.wait(told, 50*time.Millisecond)
		last = time.Now()
		for _, t := range told[:n] {
			if n, err := socks[t.slot].Read(buf); err == nil {
				note(n)
			} else if !errors.Is(err, errAgain) {
				panic(err)
			}
		}
	}
	for _, sock := range socks {
		sock.Close()
	}
	p.close()
}

// loopback returns both ends of TCP connections.
func loopback(b *testing.B, n int) (ours, theirs []net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close(); c.Close() })
		ours, theirs = append(ours, c), append(theirs, s)
	}
	return ours, theirs
}
