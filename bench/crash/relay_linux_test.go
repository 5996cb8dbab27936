// This file tests the way that can be cut.

package crash

import (
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// What is sent while it is cut arrives when it is mended, in order, and not before.
func TestRelay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := newRelay(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer r.l.Close()
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		s.SetReadDeadline(time.Now().Add(2 * time.Minute))
		if _, err := io.ReadFull(s, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	io.WriteString(c, "one")
	read("one")
	r.cut()
	io.WriteString(c, "two")
	s.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := s.Read(make([]byte, 9)); !os.IsTimeout(err) {
		t.Fatalf("%d bytes arrive through what is cut, %v", n, err)
	}
	io.WriteString(c, "three")
	r.mend()
	read("twothree")
	c.Close()
	s.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if _, err := s.Read(make([]byte, 9)); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
}
