//go:build !race

// This file guards that an event on its way costs no allocation. The broker is a
// fake one in this process, for one that is real would take part of what is counted.

package amqp

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"sluice/engine"
)

// fakeBroker answers what a sink asks on one connection, and confirms every message.
// It allocates nothing for a message.
func fakeBroker(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serveFake(conn)
	}()
	return "amqp://" + l.Addr().String()
}

// answers are what follows a method, by class and method.
var answers = map[uint32]string{
	10<<16 | 11: "\x00\x0a\x00\x1e" + "\x00\x00\x00\x02\x00\x00\x00\x00", // start-ok: tune
	10<<16 | 40: "\x00\x0a\x00\x29\x00",                                  // open: open-ok
	10<<16 | 50: "\x00\x0a\x00\x33",                                      // close: close-ok
	20<<16 | 10: "\x00\x14\x00\x0b\x00\x00\x00\x00",                      // channel.open: open-ok
	40<<16 | 10: "\x00\x28\x00\x0b",                                      // exchange.declare: declare-ok
	85<<16 | 10: "\x00\x55\x00\x0b",                                      // confirm.select: select-ok
}

func serveFake(conn net.Conn) {
	buf := make([]byte, 1<<20)
	if _, err := io.ReadFull(conn, buf[:8]); err != nil {
		return
	}
	send := func(channel byte, method string) {
		frame := binary.BigEndian.AppendUint32([]byte{frameMethod, 0, channel}, uint32(len(method)))
		conn.Write(append(append(frame, method...), frameEnd))
	}
	send(0, "\x00\x0a\x00\x0a"+"\x00\x09"+"\x00\x00\x00\x00"+"\x00\x00\x00\x05PLAIN"+"\x00\x00\x00\x05en_US") // start
	ack := []byte("\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00\x01\xce")
	var have int
	var messages, acked uint64
	for {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return
		}
		b := buf[:have+n]
		for len(b) >= frameHead {
			size := int(binary.BigEndian.Uint32(b[3:])) + frameOver
			if len(b) < size {
				break
			}
			switch {
			case b[0] == frameBody:
				messages++
			case b[0] == frameMethod:
				if a, ok := answers[binary.BigEndian.Uint32(b[frameHead:])]; ok {
					send(b[2], a)
				}
			}
			b = b[size:]
		}
		have = copy(buf, b)
		if messages > acked {
			acked = messages
			binary.BigEndian.PutUint64(ack[11:], acked)
			conn.Write(ack)
		}
	}
}

func TestPublishAllocates(t *testing.T) {
	s, err := New(Options{URLs: []string{fakeBroker(t)}, Headers: true, Expiration: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	batch := make([]engine.Event, 1000)
	for i := range batch {
		batch[i] = engine.Event{Session: "s", Type: []byte("MESSAGE_CREATE"), Data: make([]byte, 700)}
	}
	left := make(chan int, len(batch))
	acked := func(n int) { left <- n }
	publish := func() {
		if err := s.Publish(t.Context(), batch, acked); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(batch); {
			n += <-left
		}
	}
	publish()
	if n := testing.AllocsPerRun(200, publish); n > 0 {
		t.Errorf("%v allocations for %d events", n, len(batch))
	}
}
