// This file stands between amqp091-go and the network: on the channel that
// publishes, this package's frames go out between those of amqp091-go, and what
// the broker answers is taken out before amqp091-go reads it.

package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sinks/window"
)

const (
	// tapBuffer is what a tap reads at once; it grows for a longer method or header.
	tapBuffer = 16 << 10
	// maxFlowOks bounds the replies that a broker which does not read can have waiting.
	maxFlowOks = 16
)

// tap is the connection that amqp091-go is given.
//
// Read is called by one goroutine, amqp091-go's reader. Write and publish may be
// called by any.
type tap struct {
	net.Conn
	silence time.Duration // after which the broker counts as dead

	own atomic.Uint32 // the channel whose frames are taken out, 0 for none yet

	// Called by Read; set before takeOut.
	replies  func([]window.Reply) error // takes the acks and nacks that Read found, before it waits for more
	returned func()                     // takes a message that no queue takes
	closed   func(*closedError)         // takes the reason of a channel.close

	pressing sync.Mutex         // of what follows
	pressure map[uint16]string  // by channel, why nothing must be published; 0 is the connection
	pressed  func(bool, string) // takes a change of it

	writing sync.Mutex
	partial []byte // of amqp091-go's frames: it may write one in pieces
	opened  uint16 // the channel that amqp091-go opened last, whose number it keeps to itself

	guard   guard        // what the broker may send to amqp091-go
	flowOks atomic.Int32 // replies to channel.flow that are being written

	// of Read
	in    []byte // what was read and not passed on is in[r:w]
	r, w  int
	out   []byte // a frame in the place of one that was read
	pass  int    // bytes of a frame of amqp091-go's that are still to come
	skip  int    // bytes of a frame that are still to come, not looked at
	found []window.Reply
}

func newTap(conn net.Conn, silence time.Duration) *tap {
	t := &tap{Conn: conn, silence: silence, in: make([]byte, tapBuffer)}
	t.guard.init()
	t.pressure = make(map[uint16]string)
	return t
}

// SetReadDeadline does nothing. amqp091-go wants to put off the deadline at each frame
// that it reads; but it sees none while the broker sends only confirms, and does
// not look while a heartbeat of its own waits to be written, as it does for as long
// as a blocked broker reads nothing. Read sets the deadline.
func (t *tap) SetReadDeadline(time.Time) error { return nil }

// publish writes frames of ours, which are whole.
func (t *tap) publish(frames []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	_, err := t.Conn.Write(frames)
	return err
}

// takeOut makes the channel that was opened last ours. Nobody reads its frames by
// way of amqp091-go any more.
func (t *tap) takeOut() (channel uint16) {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.own.Store(uint32(t.opened))
	return t.opened
}

// Write writes what amqp091-go sends. A frame leaves when it is whole, so that
// nothing of ours comes between its parts.
func (t *tap) Write(b []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.partial = append(t.partial, b...)
	whole := 0
	for {
		rest := t.partial[whole:]
		if len(rest) < frameHead {
			break
		}
		n := len("AMQP\x00\x00\x09\x01") // the protocol header, which is no frame
		if rest[0] != 'A' {
			n = int(binary.BigEndian.Uint32(rest[3:])) + frameOver
		}
		if len(rest) < n {
			break
		}
		if rest[0] == frameMethod && n >= frameOver+4 {
			channel, method := binary.BigEndian.Uint16(rest[1:]), binary.BigEndian.Uint32(rest[frameHead:])
			if method == classChannel<<16|channelOpen {
				t.opened = channel
			}
			t.guard.asks(channel, method)
		}
		whole += n
	}
	if whole == 0 {
		return len(b), nil
	}
	_, err := t.Conn.Write(t.partial[:whole])
	t.partial = append(t.partial[:0], t.partial[whole:]...)
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read returns what the broker sends to amqp091-go.
func (t *tap) Read(p []byte) (int, error) {
	for {
		if len(t.out) > 0 {
			n := copy(p, t.out)
			t.out = t.out[n:]
			return n, nil
		}
		if n := min(t.pass, t.w-t.r); n > 0 {
			n = copy(p, t.in[t.r:t.r+n])
			t.r += n
			t.pass -= n
			return n, nil
		}
		if t.pass == 0 {
			more, err := t.parse()
			if err == nil && more {
				err = t.settle()
			}
			if err != nil {
				return 0, t.guard.fail(err)
			}
			if !more {
				continue
			}
		}
		t.w = copy(t.in, t.in[t.r:t.w])
		t.r = 0
		t.Conn.SetReadDeadline(time.Now().Add(t.silence))
		n, err := t.Conn.Read(t.in[t.w:])
		t.w += n
		if n == 0 && err != nil {
			return 0, err
		}
	}
}

// parse looks at the frames in the buffer up to the first that is to be handed
// on. It reports whether it needs more than there is.
func (t *tap) parse() (more bool, err error) {
	for {
		if t.skip > 0 {
			n := min(t.skip, t.w-t.r)
			t.skip -= n
			t.r += n
		}
		b := t.in[t.r:t.w]
		if t.skip > 0 || len(b) < frameHead {
			return true, nil
		}
		channel := binary.BigEndian.Uint16(b[1:])
		ours := channel != 0 && uint32(channel) == t.own.Load()
		// Compared before it becomes an int, which may have 32 bits.
		if n := binary.BigEndian.Uint32(b[3:]); n > maxFrame-frameOver {
			return false, fmt.Errorf("a frame of %d bytes came on channel %d, and %d are agreed on at most", n, channel, maxFrame)
		}
		size := int(binary.BigEndian.Uint32(b[3:])) + frameOver
		switch b[0] {
		case frameBody:
			if ours {
				t.skip = size // of a returned message
				continue
			}
			pass, err := t.guard.body(channel, size-frameOver)
			if err != nil {
				return false, err
			}
			if pass {
				t.pass = size
				return false, nil
			}
			t.skip = size
			continue
		case frameHeader:
			if ours {
				t.skip = size
				continue
			}
		case frameMethod, frameHeartbeat:
		default:
			return false, fmt.Errorf("a frame of the unknown type %d came on channel %d", b[0], channel)
		}
		if size > len(t.in) {
			t.in = append(make([]byte, 0, size), b...)[:size]
			t.r, t.w = 0, len(b)
		}
		if len(b) < size {
			return true, nil
		}
		if b[size-1] != frameEnd {
			return false, fmt.Errorf("a frame ends with %#x", b[size-1])
		}
		payload := b[frameHead : size-1]
		switch {
		case b[0] == frameHeartbeat:
			if channel != 0 || len(payload) > 0 {
				return false, fmt.Errorf("a heartbeat of %d bytes came on channel %d", len(payload), channel)
			}
			t.r += size // the deadline is put off by Read
		case b[0] == frameHeader:
			if t.out, err = t.guard.header(t.out[:0], channel, payload); err != nil {
				return false, err
			}
			t.r += size
			return false, nil
		case ours:
			if err := t.method(payload); err != nil {
				return false, err
			}
			t.r += size
		default:
			keep, err := t.guard.method(channel, payload)
			if err != nil {
				return false, err
			}
			if keep {
				t.pass = size
				return false, nil
			}
			if err := t.press(channel, payload); err != nil {
				return false, err
			}
			t.r += size
		}
	}
}

// press takes connection.blocked and unblocked, and channel.flow, by which a broker asks
// that nothing be published, or allows it again.
func (t *tap) press(channel uint16, b []byte) error {
	reason, active := "channel.flow", false
	switch binary.BigEndian.Uint32(b) {
	case classConnection<<16 | connectionBlocked:
		var err error
		if reason, err = shortString(b[4:]); err != nil {
			return err
		}
		active = true
	case classChannel<<16 | channelFlow:
		if len(b) < 5 {
			return errShort
		}
		active = b[4]&1 == 0
		if err := t.flowOk(channel, b[4]&1); err != nil {
			return err
		}
	}
	t.pressing.Lock()
	defer t.pressing.Unlock()
	if active {
		t.pressure[channel] = reason
	} else {
		delete(t.pressure, channel)
	}
	if t.pressed != nil {
		t.pressed(len(t.pressure) > 0, reason)
	}
	return nil
}

// onPress has f called when the broker asks that nothing be published, as it may have done
// already, and when it allows it again.
func (t *tap) onPress(f func(active bool, reason string)) {
	t.pressing.Lock()
	defer t.pressing.Unlock()
	t.pressed = f
	for _, reason := range t.pressure {
		f(true, reason)
		break
	}
}

// flowOk answers a channel.flow. The reader must not wait for a broker that does not
// read, and so it is written elsewhere.
func (t *tap) flowOk(channel uint16, active byte) error {
	if t.flowOks.Add(1) > maxFlowOks {
		return errors.New("the broker sends channel.flow, and does not read the replies")
	}
	frame := endFrame([]byte{frameMethod, byte(channel >> 8), byte(channel), 0, 0, 0, 0, 0, classChannel, 0, channelFlowOk, active}, 0)
	go func() {
		t.publish(frame)
		t.flowOks.Add(-1)
	}()
	return nil
}

// method takes a method that the broker sent on our channel.
func (t *tap) method(b []byte) error {
	if len(b) < 4 {
		return errShort
	}
	args := b[4:]
	switch class, method := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]); {
	case class == classBasic && (method == basicAck || method == basicNack):
		if len(args) < 9 {
			return errShort
		}
		t.found = append(t.found, window.Reply{
			Number:  binary.BigEndian.Uint64(args), // the delivery tag
			Through: args[8]&1 != 0, Refused: method == basicNack,
		})
	case class == classBasic && method == basicReturn:
		t.returned()
	case class == classChannel && method == channelClose:
		if len(args) < 2 {
			return errShort
		}
		text, err := shortString(args[2:])
		if err != nil {
			return err
		}
		if err := t.settle(); err != nil {
			return err
		}
		c := &closedError{code: binary.BigEndian.Uint16(args), text: text}
		if of := args[3+len(text):]; len(of) >= 4 {
			c.method = binary.BigEndian.Uint32(of)
		}
		t.closed(c)
	case class == classChannel && method == channelFlow:
		return t.press(uint16(t.own.Load()), b)
	default:
		return fmt.Errorf("the broker sent method %d.%d on the channel that publishes", class, method)
	}
	return nil
}

// settle hands over what was found.
func (t *tap) settle() error {
	if len(t.found) == 0 {
		return nil
	}
	err := t.replies(t.found)
	t.found = t.found[:0]
	return err
}
