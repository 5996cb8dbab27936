//go:build linux

// This file is a broker that attacks. It knows enough of AMQP 0-9-1 to get into every
// state of a connection, and then sends what its random numbers say.

package amqp

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// methods are all methods of AMQP 0-9-1 and of RabbitMQ, with their arguments: o, s, l and
// L integers of 1, 2, 4 and 8 bytes, b bits, S and T short and long strings, F a table.
var methods = map[uint32]string{
	10<<16 | 10: "ooFTT", 10<<16 | 11: "FSTS", 10<<16 | 20: "T", 10<<16 | 21: "T", 10<<16 | 30: "sls", 10<<16 | 31: "sls", 10<<16 | 40: "SSb",
	10<<16 | 41: "S", 10<<16 | 50: "sSss", 10<<16 | 51: "", 10<<16 | 60: "S", 10<<16 | 61: "", 10<<16 | 70: "TS", 10<<16 | 71: "",
	20<<16 | 10: "S", 20<<16 | 11: "T", 20<<16 | 20: "b", 20<<16 | 21: "b", 20<<16 | 40: "sSss", 20<<16 | 41: "",
	30<<16 | 10: "Sb", 30<<16 | 11: "s",
	40<<16 | 10: "sSSbF", 40<<16 | 11: "", 40<<16 | 20: "sSb", 40<<16 | 21: "", 40<<16 | 30: "sSSSbF", 40<<16 | 31: "", 40<<16 | 40: "sSSSbF", 40<<16 | 51: "",
	50<<16 | 10: "sSbF", 50<<16 | 11: "Sll", 50<<16 | 20: "sSSSbF", 50<<16 | 21: "", 50<<16 | 30: "sSb", 50<<16 | 31: "l", 50<<16 | 40: "sSb",
	50<<16 | 41: "l", 50<<16 | 50: "sSSSF", 50<<16 | 51: "",
	60<<16 | 10: "lsb", 60<<16 | 11: "", 60<<16 | 20: "sSSbF", 60<<16 | 21: "S", 60<<16 | 30: "Sb", 60<<16 | 31: "S", 60<<16 | 40: "sSSb", 60<<16 | 50: "sSSS",
	60<<16 | 60: "SLbSS", 60<<16 | 70: "sSb", 60<<16 | 71: "LbSSl", 60<<16 | 72: "S", 60<<16 | 80: "Lb", 60<<16 | 90: "Lb", 60<<16 | 100: "b",
	60<<16 | 110: "b", 60<<16 | 111: "", 60<<16 | 120: "Lb",
	85<<16 | 10: "b", 85<<16 | 11: "",
	90<<16 | 10: "", 90<<16 | 11: "", 90<<16 | 20: "", 90<<16 | 21: "", 90<<16 | 30: "", 90<<16 | 31: "",
}

// methodNumbers are the keys of methods in order, which a map has not.
var methodNumbers = func() (all []uint32) {
	for class := uint32(10); class <= 90; class++ {
		for method := range uint32(121) {
			if _, ok := methods[class<<16|method]; ok {
				all = append(all, class<<16|method)
			}
		}
	}
	return all
}()

// assault is one connection of a broker that attacks.
type assault struct {
	conn  net.Conn
	rng   *rand.Rand
	kinds []int                      // of attacks that it makes
	took  func(shard int, seq int64) // called for each event that it confirms
	sent  func(method uint32)        // called for each method that it sends

	mu        sync.Mutex // of what follows, and of writing
	publisher uint16     // the channel on which events come
	events    [][2]int64 // by tag - 1
	consumers []string
	channels  []uint16
	tag       uint64 // of deliveries
}

var odd64 = []uint64{0, 1, 2, 255, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1}

func (a *assault) number() uint64 {
	if a.rng.IntN(3) == 0 {
		return uint64(a.rng.IntN(5))
	}
	return odd64[a.rng.IntN(len(odd64))]
}

func (a *assault) channel() uint16 {
	if n := len(a.channels); n > 0 && a.rng.IntN(4) > 0 {
		return a.channels[a.rng.IntN(n)]
	}
	return []uint16{0, 0, 1, 2, 3, 2047, 65535}[a.rng.IntN(7)]
}

func long(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// text returns a string of any kind.
func (a *assault) text() string {
	switch a.rng.IntN(8) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("\xff", 255)
	case 2:
		return "PLAIN EXTERNAL"
	case 3: // no event has this size
		return "PRECONDITION_FAILED - message size 1000001 is larger than configured max size 1000000"
	case 4:
		if n := len(a.consumers); n > 0 {
			return a.consumers[a.rng.IntN(n)]
		}
	}
	return []string{"events", "SEND", "PLAIN", "en_US", "NOT_FOUND", "\x00"}[a.rng.IntN(6)]
}

// table returns a table, often of a shape that is not allowed.
func (a *assault) table(depth int) string {
	switch a.rng.IntN(6) {
	case 0:
		return long("")
	case 1: // its length is not true
		return string(binary.BigEndian.AppendUint32(nil, uint32(a.number()))) + "\x01kS"
	case 2: // it nests
		b := long("")
		for range depth {
			b = long("\x01k" + []string{"F", "A"}[a.rng.IntN(2)] + b)
		}
		return b
	case 3: // of many entries that take no room
		return long(strings.Repeat("\x00V", 1500))
	case 4:
		return long("\x0ccapabilitiesF" + long("\x12connection.blockedt\x01\x0abasic.nackt\x01"))
	}
	return long("\x01k" + string(rune('A'+a.rng.IntN(58))) + a.text())
}

// arguments returns arguments for a method.
func (a *assault) arguments(kinds string) []byte {
	var b []byte
	for _, kind := range kinds {
		switch kind {
		case 'o', 'b':
			b = append(b, byte(a.number()))
		case 's':
			b = binary.BigEndian.AppendUint16(b, uint16([]uint64{200, 311, 312, 320, 403, 404, 405, 406, 501, 504, 540, 541, a.number()}[a.rng.IntN(13)]))
		case 'l':
			b = binary.BigEndian.AppendUint32(b, uint32(a.number()))
		case 'L':
			b = binary.BigEndian.AppendUint64(b, a.number())
		case 'S':
			b = append(b, short(a.text())...)
		case 'T':
			b = append(b, long(a.text())...)
		case 'F':
			b = append(b, a.table(1+a.rng.IntN(600))...)
		}
	}
	return b
}

// write writes bytes; who does not read loses them.
func (a *assault) write(b []byte) { a.conn.Write(b) }

// method writes a method, as it should be.
func (a *assault) method(channel uint16, method uint32, args []byte) {
	if a.sent != nil {
		a.sent(method)
	}
	a.frame(frameMethod, channel, append(binary.BigEndian.AppendUint32(nil, method), args...))
}

func (a *assault) frame(kind byte, channel uint16, payload []byte) {
	a.write(endFrame(append([]byte{kind, byte(channel >> 8), byte(channel), 0, 0, 0, 0}, payload...), 0))
}

// reply writes a confirm that is true, or one that can't be. An event counts as taken if
// it is true.
func (a *assault) reply(channel uint16) {
	if a.publisher != 0 && a.rng.IntN(2) == 0 {
		channel = a.publisher
	}
	method, multiple := uint32(60<<16|80), byte(a.rng.IntN(2))
	if a.rng.IntN(2) == 0 {
		method = 60<<16 | 120
	}
	received := uint64(len(a.events))
	var tag uint64
	switch {
	case a.rng.IntN(8) > 0 && received > 0 && channel == a.publisher:
		tag = 1 + a.rng.Uint64N(received)
		if method == 60<<16|80 {
			from := tag - 1
			if multiple == 1 {
				from = 0
			}
			for _, ev := range a.events[from:tag] {
				a.took(int(ev[0]), ev[1])
			}
		}
	case a.rng.IntN(4) == 0:
		if channel == a.publisher || a.publisher == 0 {
			// Of tag 0 and multiple it is true, and of more than is read here.
			multiple = 0
		}
	case a.rng.IntN(4) == 0 && a.publisher != 0 && channel != a.publisher:
		tag = 1 + a.rng.Uint64N(3) // of a reply
	default:
		tag = received + 100_000 + a.number()
	}
	a.method(channel, method, append(binary.BigEndian.AppendUint64(nil, tag), multiple))
}

// content writes a content header, and bodies that fit it or do not.
func (a *assault) content(channel uint16, size uint64) {
	b := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, size)
	flags := uint16(a.rng.Uint32())
	if a.rng.IntN(2) == 0 {
		flags = flagCorrelation | flagReplyTo
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	for bit := uint16(0x8000); bit > 1; bit >>= 1 {
		switch {
		case flags&bit == 0:
		case bit == flagHeaders:
			b = append(b, a.table(60)...)
		case bit == flagDelivery || bit == 0x0800:
			b = append(b, 1)
		case bit == 0x0040:
			b = binary.BigEndian.AppendUint64(b, a.number())
		default:
			b = append(b, short(a.text())...)
		}
	}
	if a.rng.IntN(8) == 0 {
		b = b[:a.rng.IntN(len(b))]
	}
	a.frame(frameHeader, channel, b)
	for range a.rng.IntN(4) {
		a.frame(frameBody, channel, make([]byte, min(size, uint64(a.rng.IntN(120_000)))))
	}
}

// deliver writes messages to the consumers.
func (a *assault) deliver(channel uint16, n int) {
	for range n {
		a.tag++
		body := fmt.Appendf(nil, `{"op":3,"d":{"n":%d}}`, a.tag)
		consumer := a.text()
		if n := len(a.consumers); n > 0 && a.rng.IntN(10) > 0 {
			consumer = a.consumers[a.rng.IntN(n)]
		}
		args := binary.BigEndian.AppendUint64([]byte(short(consumer)), a.tag)
		a.method(channel, 60<<16|60, append(args, "\x00\x06events\x04SEND"...))
		if a.rng.IntN(20) == 0 {
			a.content(channel, a.number())
			continue
		}
		header := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(body)))
		a.frame(frameHeader, channel, append(header, "\x06\x00\x02id\x07nowhere"...))
		a.frame(frameBody, channel, body)
	}
}

// attack does one thing that a broker should not do. It reports whether the connection goes
// on.
func (a *assault) attack() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	channel := a.channel()
	method := methodNumbers[a.rng.IntN(len(methodNumbers))]
	confirms := method == 60<<16|80 || method == 60<<16|120
	switch a.kinds[a.rng.IntN(len(a.kinds))] {
	case 0, 1, 2, 3, 4:
		if confirms {
			a.reply(channel)
			break
		}
		a.method(channel, method, a.arguments(methods[method]))
	case 5, 6:
		a.reply(channel)
	case 7: // of another class, or cut short
		if args := a.arguments(methods[method]); !confirms && len(args) > 0 {
			a.method(channel, method, args[:a.rng.IntN(len(args))])
		}
		a.method(channel, uint32(a.rng.IntN(100))<<16|uint32(a.rng.IntN(5)+200), a.arguments("SLb"))
	case 8: // a length that is not true
		b := []byte{byte(1 + a.rng.IntN(3)), byte(channel >> 8), byte(channel), 0, 0, 0, 0}
		binary.BigEndian.PutUint32(b[3:], uint32(a.number()))
		a.write(b)
		for range a.rng.IntN(20) {
			a.write(make([]byte, 50_000))
		}
	case 9: // an end, or a type, that there is not
		a.write([]byte{1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 61, byte(a.rng.IntN(200))})
		a.frame([]byte{0, 4, 5, 8, 255}[a.rng.IntN(5)], channel, make([]byte, a.rng.IntN(5)))
	case 10:
		a.content(channel, a.number())
	case 11:
		a.frame(frameBody, channel, make([]byte, a.rng.IntN(200_000)))
	case 12:
		a.deliver(channel, 1+a.rng.IntN(2_000))
	case 13: // the same thing very often
		n := a.rng.IntN(2000)
		switch a.rng.IntN(3) {
		case 0:
			for range n {
				a.method(0, 10<<16|60, []byte(short("memory")))
				a.method(0, 10<<16|61, nil)
			}
		case 1:
			for i := range n {
				a.method(channel, 20<<16|20, []byte{byte(i)})
			}
		case 2:
			for range n {
				a.method(channel, 60<<16|50, []byte("\x01\x38\x00\x00\x00"))
				a.content(channel, 10)
			}
		}
	case 14:
		b := make([]byte, a.rng.IntN(5000))
		for i := range b {
			b[i] = byte(a.rng.Uint32())
		}
		if len(b) > 0 {
			b[0] |= 0x10 // no frame begins so
		}
		a.write(append(b, "HTTP/1.1 400 Bad Request\r\n\r\n"...))
	case 15:
		if tcp, ok := a.conn.(*net.TCPConn); ok && a.rng.IntN(2) == 0 {
			tcp.SetLinger(0)
		}
		return false
	}
	return true
}

// run attacks once it has answered a number of methods as it should, at most for a time.
func (a *assault) run(life time.Duration) {
	defer a.conn.Close()
	a.conn.SetDeadline(time.Now().Add(life))
	in := make([]byte, 1<<20)
	if _, err := io.ReadFull(a.conn, in[:8]); err != nil {
		return
	}
	// Most of the time it gets into the state in which events and commands pass, and then
	// does but a few kinds of things.
	good := 10 + a.rng.IntN(100)
	if a.rng.IntN(3) == 0 {
		good = a.rng.IntN(10)
	}
	for range 1 + a.rng.IntN(3) {
		a.kinds = append(a.kinds, a.rng.IntN(16))
	}
	a.mu.Lock()
	if good > 0 {
		a.method(0, 10<<16|10, []byte("\x00\x09"+"\x00\x00\x00\x00"+"\x00\x00\x00\x05PLAIN"+"\x00\x00\x00\x05en_US"))
	}
	a.mu.Unlock()
	attacks := 1 + a.rng.IntN(4)
	for have := 0; ; {
		if good <= 0 {
			for range attacks {
				if !a.attack() {
					return
				}
			}
			good = 1 + a.rng.IntN(10)
		}
		n, err := a.conn.Read(in[have:])
		if err != nil {
			return
		}
		b := in[:have+n]
		for len(b) >= frameHead {
			size := int(binary.BigEndian.Uint32(b[3:])) + frameOver
			if len(b) < size {
				break
			}
			if a.take(b[:size]) {
				good--
			}
			b = b[size:]
		}
		have = copy(in, b)
	}
}

// take takes a frame of the client's, and answers it as it should. It reports whether
// that was a method.
func (a *assault) take(b []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	channel, payload := binary.BigEndian.Uint16(b[1:]), b[frameHead:len(b)-1]
	switch b[0] {
	case frameBody:
		if channel == a.publisher {
			var ev [2]int64
			text := string(payload)
			fmt.Sscanf(text[strings.IndexByte(text, '"')+1:], "%d %d ", &ev[0], &ev[1])
			a.events = append(a.events, ev)
		}
		return false
	case frameMethod:
	default:
		return false
	}
	method, args := binary.BigEndian.Uint32(payload), payload[4:]
	answer, body := method+1, ""
	switch method {
	case 10<<16 | 11: // start-ok: tune
		answer = 10<<16 | 30
		body = string(binary.BigEndian.AppendUint16(nil, []uint16{0, 0, 1, 2, 2047, 65535}[a.rng.IntN(6)]))
		body += string(binary.BigEndian.AppendUint32(nil, []uint32{0, 1, 4096, 131072, 1<<32 - 1}[a.rng.IntN(5)]))
		body += string(binary.BigEndian.AppendUint16(nil, []uint16{0, 1, 60, 65535}[a.rng.IntN(4)]))
	case 10<<16 | 40:
		body = "\x00"
	case 10<<16 | 50, 20<<16 | 40, 40<<16 | 10, 50<<16 | 20, 60<<16 | 10, 85<<16 | 10:
	case 20<<16 | 10:
		a.channels = append(a.channels, channel)
		body = "\x00\x00\x00\x00"
	case 50<<16 | 10:
		queue, _ := shortString(args[2:])
		body = short(queue) + "\x00\x00\x00\x00\x00\x00\x00\x00"
	case 60<<16 | 20:
		queue, _ := shortString(args[2:])
		tag, _ := shortString(args[2+1+len(queue):])
		a.consumers = append(a.consumers, tag)
		body = short(tag)
	case 60<<16 | 40:
		if exchange, _ := shortString(args[2:]); exchange != "" && a.publisher == 0 {
			a.publisher = channel
		}
		return true
	default: // such as basic.ack
		return true
	}
	a.method(channel, answer, []byte(body))
	return true
}
