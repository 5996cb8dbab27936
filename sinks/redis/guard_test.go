// This file tests what is let through to rueidis.

package redis

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// valid are replies as Redis gives them.
var valid = []string{
	"+OK\r\n", "-ERR no\r\n", "-MOVED 1 127.0.0.1:6379\r\n", ":-17\r\n", "$0\r\n\r\n", "$5\r\na\r\nbc\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "%0\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(12345678901234567890\r\n",
	"=7\r\ntxt:abc\r\n", "*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n*0\r\n", "~1\r\n$1\r\nx\r\n", "|1\r\n+a\r\n*1\r\n:1\r\n*1\r\n|0\r\n:1\r\n", "*3\r\n:1\r\n$3\r\ngap\r\n$1\r\n0\r\n",
}

// Every reply passes, in whatever pieces it comes, and is counted once.
func TestGuardPasses(t *testing.T) {
	all := strings.Join(valid, "")
	for size := 1; size < 20; size++ {
		var r replies
		n := 0
		for rest := all; rest != ""; {
			piece := rest[:min(size, len(rest))]
			rest = rest[len(piece):]
			complete, bad := r.feed([]byte(piece), false)
			if bad != "" {
				t.Fatalf("in pieces of %d: the reply %s at %q", size, bad, piece+rest)
			}
			n += complete
		}
		if n != len(valid) {
			t.Errorf("in pieces of %d: %d replies, want %d", size, n, len(valid))
		}
	}
}

func TestGuardRefuses(t *testing.T) {
	for _, text := range []string{
		"*2147483647\r\n", "*-5\r\n", "%-1\r\n", ">-1\r\n", "~-1\r\n", "$-2\r\n", "=-1\r\n", "$99999999999999999999\r\n", "*\r\n", "$x\r\n", "*+1\r\n", "*--1\r\n", "*1\n", "*1048577\r\n", "%524289\r\n",
		"$67108865\r\n", "*2\r\n*1048575\r\n:1", strings.Repeat("*1\r\n", 9), "$?\r\n", "*?\r\n", ".\r\n", ";1\r\n", "!5\r\nERR x\r\n", "_x\r\n", "#true\r\n", "$1\r\nab\r\n", "$1\r\na\n", "+a\n", "-MOVED\r\n", "-ASK 1\r\n",
		"-ERR MOVED 1\r\n", "-REDIRECT\r\n", ">3\r\n$9\r\nsubscribe\r\n", "*1\r\n>1\r\n", "\r\n", "HTTP/1.1 400\r\n", "+" + strings.Repeat("x", maxLine+1), "*9\r\n*1048570\r\n",
	} {
		var r replies
		if _, bad := r.feed([]byte(text), false); bad == "" {
			t.Errorf("%.60q passes", text)
		}
	}
	var r replies
	if _, bad := r.feed([]byte(">3\r\n$9\r\nsubscribe\r\n+a\r\n:1\r\n"), true); bad != "" {
		t.Errorf("after a subscription: %s", bad)
	}
}

// loopConn answers each write with the same reply.
type loopConn struct {
	net.Conn
	reply []byte
	ready int
}

func (c *loopConn) Write(p []byte) (int, error) { c.ready++; return len(p), nil }
func (c *loopConn) Close() error                { return nil }
func (c *loopConn) Read(p []byte) (int, error) {
	if c.ready == 0 {
		return 0, io.EOF
	}
	c.ready--
	return copy(p, c.reply), nil
}

func TestGuardSurplus(t *testing.T) {
	ping, buf := []byte("*1\r\n$4\r\nPING\r\n"), make([]byte, 64)
	c := &guardedConn{Conn: &loopConn{reply: []byte("+PONG\r\n")}}
	for range 3 {
		c.Write(ping)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "+PONG\r\n" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
	c.Conn.(*loopConn).ready++
	var bad *ReplyError
	if n, err := c.Read(buf); n > 0 || !errors.As(err, &bad) {
		t.Errorf("a reply to no command: %d bytes, %v", n, err)
	}
	c.Write(ping)
	if n, err := c.Read(buf); n > 0 || err == nil {
		t.Errorf("after it: %d bytes, %v", n, err)
	}
	c = &guardedConn{Conn: &loopConn{reply: []byte(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")}}
	c.Write([]byte("*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n"))
	if _, err := c.Read(buf); err != nil {
		t.Errorf("a subscription: %v", err)
	}
}

func TestGuardAllocs(t *testing.T) {
	command, buf := batchCommand(), make([]byte, 64)
	c := &guardedConn{Conn: &loopConn{reply: []byte("*1\r\n:123456\r\n")}}
	if n := testing.AllocsPerRun(100, func() {
		c.Write(command)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// batchCommand is a call of the script with 256 events of 753 bytes.
func batchCommand() []byte {
	return []byte("*519\r\n" + strings.Repeat("$14\r\nMESSAGE_CREATE\r\n$753\r\n"+strings.Repeat("x", 753)+"\r\n", 259) + "$1\r\n0\r\n")
}

// BenchmarkGuard is the cost for each event, of a batch of 256.
func BenchmarkGuard(b *testing.B) {
	command, buf := batchCommand(), make([]byte, 64)
	c := &guardedConn{Conn: &loopConn{reply: []byte("*1\r\n:123456\r\n")}}
	b.ReportAllocs()
	for n := 0; n < b.N; n += 256 {
		c.Write(command)
		c.Read(buf)
	}
}

func FuzzGuard(f *testing.F) {
	for _, text := range valid {
		f.Add([]byte(text), 3)
	}
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		var whole, parts replies
		n, bad := whole.feed(p, false)
		cut = max(0, min(cut, len(p)))
		n1, bad1 := parts.feed(p[:cut], false)
		if bad1 != "" {
			if bad != bad1 {
				t.Errorf("%q in two parts %s, in one %s", p, bad1, bad)
			}
			return
		}
		n2, bad2 := parts.feed(p[cut:], false)
		if bad != bad2 || n != n1+n2 {
			t.Errorf("%q: %d replies, %q; in two parts %d, %q", p, n, bad, n1+n2, bad2)
		}
	})
}
