// This file checks what a broker sends to amqp091-go. That library takes every frame for
// true: a reply that nobody asked for stops its reader for ever, a confirm of tag 2^64-1
// has it count that far, deliveries beyond the prefetch are kept without a bound, and
// a header that nests too deeply ends the connection, which brings the message again.

package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

const (
	// maxFrame is the largest frame that is agreed on, RabbitMQ's own bound.
	maxFrame = 128 << 10
	// maxCommand bounds the body of a command: a packet has at most 4,096 bytes, and amqp091-go
	// keeps all that the prefetch allows for each queue while its shard takes none.
	maxCommand = 64 << 10
)

// guard follows what amqp091-go asks on each channel. Its methods return an error for
// what a broker that keeps to the protocol does not send.
type guard struct {
	mu       sync.Mutex // of what follows
	channels map[uint16]*asked
	capacity int              // deliveries that may be unacknowledged on a channel
	largest  uint64           // bytes of a body that is passed on
	large    map[letter]int64 // bodies that were left out
	fault    error            // the first
}

// letter is a delivery: consumers have their tags once in a process, deliveries once on a channel.
type letter struct {
	consumer string
	tag      uint64
}

// asked is what the broker may send on a channel.
type asked struct {
	reply      uint32 // the method that answers the request in flight; 0: there is none
	closed     bool   // by the broker
	confirming bool
	published  uint64 // messages, while confirming
	returned   uint64
	consumers  int // that can be cancelled
	deliveries int // not acknowledged

	content uint32 // the method whose content comes now; 0: none
	of      []byte // the tag of the consumer of the delivery
	tag     uint64 // and its own
	begun   bool   // its header is there
	left    uint64 // bytes of its body
	cut     bool   // its body is left out
}

func (g *guard) init() {
	g.channels = map[uint16]*asked{0: {reply: classConnection<<16 | connectionStart}}
	g.large = make(map[letter]int64)
}

// fail notes err, and returns it.
func (g *guard) fail(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault == nil {
		g.fault = fmt.Errorf("the broker does not keep to AMQP 0-9-1: %w", err)
	}
	return g.fault
}

// failed returns what was wrong with the connection, or nil.
func (g *guard) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault
}

// allow sets how many deliveries may be unacknowledged on a channel, and how large one
// may be: the body of a larger one is left out.
func (g *guard) allow(deliveries, largest int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.capacity, g.largest = deliveries, uint64(largest)
}

// tooLarge returns how large the body of a delivery is that was left out, or 0.
func (g *guard) tooLarge(consumer string, tag uint64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := letter{consumer, tag}
	size := g.large[at]
	delete(g.large, at)
	return size
}

// asks notes a method that is sent. The answer to a request is the method with the next
// number, except while a connection is opened.
func (g *guard) asks(channel uint16, method uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if method == classChannel<<16|channelOpen {
		g.channels[channel] = new(asked)
	}
	a := g.channels[channel]
	if a == nil {
		return
	}
	switch method {
	case classConnection<<16 | connectionStartOk:
		a.reply = classConnection<<16 | connectionTune
	case classBasic<<16 | basicPublish:
		if a.confirming {
			a.published++
		}
	case classBasic<<16 | basicAck, classBasic<<16 | basicNack:
		a.deliveries--
	case classConnection<<16 | connectionTuneOk, classConnection<<16 | connectionCloseOk, classChannel<<16 | channelCloseOk,
		classChannel<<16 | channelFlowOk, classBasic<<16 | basicCancelOk:
	case classBasic<<16 | basicConsume:
		a.consumers++
		a.reply = method + 1
	case classConfirm<<16 | confirmSelect:
		a.confirming = true
		a.reply = method + 1
	default:
		a.reply = method + 1
	}
}

// method checks a method. It reports whether amqp091-go is to have it; what it is not to
// have is for press.
func (g *guard) method(channel uint16, b []byte) (keep bool, err error) {
	if len(b) < 4 {
		return false, errShort
	}
	method, args := binary.BigEndian.Uint32(b), b[4:]
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.channels[channel]
	unasked := func() (bool, error) {
		return false, fmt.Errorf("method %d.%d came on channel %d, and nobody asked for it", method>>16, method&0xffff, channel)
	}
	if a == nil || a.closed {
		return unasked()
	}
	a.content = 0
	if channel == 0 {
		switch method {
		case classConnection<<16 | connectionClose:
			return true, nil
		case classConnection<<16 | connectionBlocked, classConnection<<16 | connectionUnblocked:
			return false, nil
		}
	} else {
		switch method {
		case classChannel<<16 | channelClose:
			a.closed = true
			return true, nil
		case classChannel<<16 | channelFlow:
			return false, nil
		case classBasic<<16 | basicCancel:
			if a.consumers--; a.consumers < 0 {
				return unasked()
			}
			return true, nil
		case classBasic<<16 | basicAck, classBasic<<16 | basicNack:
			if len(args) < 9 {
				return false, errShort
			}
			if tag := binary.BigEndian.Uint64(args); tag == 0 || tag > a.published {
				return false, fmt.Errorf("the broker confirms message %d of %d on channel %d", tag, a.published, channel)
			}
			return true, nil
		case classBasic<<16 | basicReturn:
			if a.returned++; a.returned > a.published {
				return unasked()
			}
			a.content, a.begun = method, false
			return true, nil
		case classBasic<<16 | basicDeliver:
			consumer, err := shortString(args)
			if err != nil || len(args) < 1+len(consumer)+8 {
				return false, errShort
			}
			if a.deliveries++; a.deliveries > g.capacity {
				return false, fmt.Errorf("the broker delivers more than the %d commands that may be unacknowledged", g.capacity)
			}
			a.content, a.begun = method, false
			a.of = append(a.of[:0], consumer...)
			a.tag = binary.BigEndian.Uint64(args[1+len(consumer):])
			return true, nil
		}
	}
	if a.reply == 0 || method != a.reply {
		return unasked()
	}
	a.reply = 0
	return true, nil
}

// header appends to dst, as a frame, what of a content header is of use: the size, and the
// properties that say where a reply goes, and how a command is forwarded. A bot's others
// may be of any shape. The body of what is too large is left out.
func (g *guard) header(dst []byte, channel uint16, b []byte) ([]byte, error) {
	if len(b) < 14 {
		return dst, errors.New("a content header from the broker is cut short")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.channels[channel]
	if a == nil || a.content == 0 || a.begun {
		return dst, fmt.Errorf("a content header came on channel %d, and no message", channel)
	}
	a.begun = true
	a.left = binary.BigEndian.Uint64(b[4:])
	a.cut = a.left > g.largest || a.content != classBasic<<16|basicDeliver
	size := a.left
	if a.cut {
		size = 0
		if a.content == classBasic<<16|basicDeliver {
			g.large[letter{string(a.of), a.tag}] = int64(min(a.left, 1<<62))
		}
	}
	if a.left == 0 {
		a.content = 0
	}
	start := len(dst)
	dst = append(dst, frameHeader, byte(channel>>8), byte(channel), 0, 0, 0, 0)
	dst = append(dst, b[:4]...)
	dst = binary.BigEndian.AppendUint64(dst, size)
	return endFrame(appendPlain(dst, b[12:]), start), nil
}

// plainProperties are those that amqp091-go is to have: each is a byte or a short string.
const plainProperties = flagDelivery | flagCorrelation | flagReplyTo | flagExpiration | flagMessageID

// appendPlain appends the plain ones of the properties of a content header, their flags before
// them, up to one that is malformed.
func appendPlain(dst, b []byte) []byte {
	flags, kept, at := binary.BigEndian.Uint16(b), uint16(0), len(dst)
	dst = append(dst, 0, 0)
	b = b[2:]
	for bit := uint16(0x8000); bit >= flagMessageID; bit >>= 1 {
		if flags&bit == 0 {
			continue
		}
		var n uint64
		switch {
		case bit == flagHeaders && len(b) >= 4:
			n = 4 + uint64(binary.BigEndian.Uint32(b))
		case bit == flagDelivery || bit == flagDelivery>>1: // and priority
			n = 1
		case bit != flagHeaders && len(b) >= 1:
			n = 1 + uint64(b[0])
		}
		if n == 0 || n > uint64(len(b)) {
			break
		}
		if bit&plainProperties != 0 {
			dst = append(dst, b[:n]...)
			kept |= bit
		}
		b = b[n:]
	}
	binary.BigEndian.PutUint16(dst[at:], kept)
	return dst
}

// body notes n bytes of a body. It reports whether amqp091-go is to have them.
func (g *guard) body(channel uint16, n int) (keep bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.channels[channel]
	if a == nil || a.content == 0 || !a.begun || uint64(n) > a.left || n == 0 {
		return false, fmt.Errorf("a body of %d bytes came on channel %d, and no message", n, channel)
	}
	if a.left -= uint64(n); a.left == 0 {
		a.content = 0
	}
	return !a.cut, nil
}
