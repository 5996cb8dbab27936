// This file is a broker that costs next to nothing, for what is to be measured without
// one that is real. It publishes nothing to anybody.

package amqp

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// fakeBroker confirms every message at once, and allocates nothing for it.
func fakeBroker(t testing.TB) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveFake(conn)
		}
	}()
	return "amqp://" + l.Addr().String()
}

// fakeReplies are what follows a method, by class and method.
var fakeReplies = map[uint32]string{
	10<<16 | 11: "\x00\x0a\x00\x1e" + "\x00\x00\x00\x02\x00\x00\x00\x00", // start-ok: tune
	10<<16 | 40: "\x00\x0a\x00\x29\x00",                                  // open: open-ok
	10<<16 | 50: "\x00\x0a\x00\x33",                                      // close: close-ok
	20<<16 | 10: "\x00\x14\x00\x0b\x00\x00\x00\x00",                      // channel.open: open-ok
	40<<16 | 10: "\x00\x28\x00\x0b",                                      // exchange.declare: declare-ok
	85<<16 | 10: "\x00\x55\x00\x0b",                                      // confirm.select: select-ok
}

func serveFake(conn net.Conn) {
	defer conn.Close()
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
				if a, ok := fakeReplies[binary.BigEndian.Uint32(b[frameHead:])]; ok {
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
