// This file encodes the frames of basic.publish.

package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sluice/sinks"
	"sluice/sinks/msgpack"
)

// Of AMQP 0-9-1.
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xce
	frameHead      = 7             // bytes of type, channel and size
	frameOver      = frameHead + 1 // and of the end
	maxShort       = 255           // bytes of a short string

	classConnection     = 10
	connectionStart     = 10
	connectionStartOk   = 11
	connectionTune      = 30
	connectionTuneOk    = 31
	connectionOpen      = 40
	connectionClose     = 50
	connectionCloseOk   = 51
	connectionBlocked   = 60
	connectionUnblocked = 61

	classChannel   = 20
	channelOpen    = 10
	channelFlow    = 20
	channelFlowOk  = 21
	channelClose   = 40
	channelCloseOk = 41

	classBasic    = 60
	basicConsume  = 20
	basicCancel   = 30
	basicCancelOk = 31
	basicPublish  = 40
	basicReturn   = 50
	basicDeliver  = 60
	basicAck      = 80
	basicNack     = 120
	classConfirm  = 85
	confirmSelect = 10

	flagHeaders     = 0x2000
	flagDelivery    = 0x1000
	flagCorrelation = 0x0400
	flagReplyTo     = 0x0200
	flagExpiration  = 0x0100
	flagMessageID   = 0x0080
)

// encoder turns events into frames for one channel. What is the same for every
// event is encoded once.
type encoder struct {
	routingKey func(dst []byte, ev *sinks.Event) []byte
	body       func(dst []byte, ev *sinks.Event) ([]byte, error)
	frameMax   int // bytes of a whole frame, 0 if there is no bound

	method    []byte // the method frame up to the routing key
	mandatory byte
	header    []byte // the header frame up to the properties
	headers   bool
	owner     []byte // the header of that name
	tail      []byte // the properties after the headers
	flags     int    // where those of the properties are in header
	expires   time.Duration
	size      int // of the last body
}

func newEncoder(o *Options, channel uint16, frameMax int) *encoder {
	e := &encoder{routingKey: o.RoutingKey, body: o.Body, frameMax: frameMax, headers: o.Headers}
	e.method = append(e.method, frameMethod, byte(channel>>8), byte(channel), 0, 0, 0, 0)
	e.method = append(e.method, 0, classBasic, 0, basicPublish, 0, 0, byte(len(o.Exchange)))
	e.method = append(e.method, o.Exchange...)
	if o.Mandatory {
		e.mandatory = 1
	}
	e.header = append(e.header, frameHeader, byte(channel>>8), byte(channel), 0, 0, 0, 0)
	e.header = append(e.header, 0, classBasic, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	e.flags = len(e.header)
	e.header = append(e.header, 0, 0)
	e.owner = appendText(append(e.owner, "\x05owner"...), o.Owner)
	e.expires = -1 // not encoded
	e.refresh(o)
	return e
}

// refresh encodes the properties again if they have changed.
func (e *encoder) refresh(o *Options) {
	expires := o.expires()
	if expires == e.expires {
		return
	}
	e.expires = expires
	var flags uint16
	e.tail = e.tail[:0]
	if o.Headers {
		flags |= flagHeaders
	}
	if o.Persistent {
		flags |= flagDelivery
		e.tail = append(e.tail, 2)
	}
	if ms := o.expiration(); ms != "" {
		flags |= flagExpiration
		e.tail = append(e.tail, byte(len(ms)))
		e.tail = append(e.tail, ms...)
	}
	binary.BigEndian.PutUint16(e.header[e.flags:], flags)
}

// expires returns how long a message waits in a queue; 0: for ever.
func (o *Options) expires() time.Duration {
	if o.ExpirationNow != nil {
		return max(o.ExpirationNow(), 0)
	}
	return max(o.Expiration, 0)
}

// expiration returns the property of that name, empty for none.
func (o *Options) expiration() string {
	expires := o.expires()
	if expires == 0 {
		return ""
	}
	return strconv.FormatInt(max(expires.Milliseconds(), 1), 10)
}

// append appends the frames of ev to dst. If the event can't be encoded it
// returns dst as it was, and why.
func (e *encoder) append(dst []byte, ev *sinks.Event) ([]byte, error) {
	start := len(dst)
	dst = append(dst, e.method...)
	key := len(dst) + 1
	dst = append(dst, 0)
	if e.routingKey == nil {
		dst = append(dst, ev.Type...)
	} else {
		dst = e.routingKey(dst, ev)
	}
	n := len(dst) - key
	if n > maxShort {
		return dst[:start], &deadLetterError{longKey, fmt.Errorf("its routing key has %d bytes, and AMQP allows %d", n, maxShort)}
	}
	dst[key-1] = byte(n)
	dst = endFrame(append(dst, e.mandatory), start)

	header := len(dst)
	dst = append(dst, e.header...)
	if e.headers {
		dst = e.appendHeaders(dst, ev)
	}
	dst = endFrame(append(dst, e.tail...), header)
	if n := len(dst) - header; e.frameMax > 0 && n > e.frameMax {
		return dst[:start], &deadLetterError{longHeaders, fmt.Errorf("its headers have %d bytes, and the broker takes frames of %d", n, e.frameMax)}
	}

	body := len(dst)
	dst = append(dst, frameBody, dst[start+1], dst[start+2], 0, 0, 0, 0)
	if e.body == nil {
		dst = appendRaw(dst, ev.Data)
	} else {
		var err error
		if dst, err = e.body(dst, ev); err != nil {
			return dst[:start], err
		}
	}
	size := len(dst) - body - frameHead
	e.size = size
	binary.BigEndian.PutUint64(dst[header+frameHead+4:], uint64(size))
	if size == 0 {
		return dst[:body], nil // a message without a body has no body frame
	}
	return endBody(dst, body, e.frameMax), nil
}

// endFrame ends the frame that begins at start.
func endFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+3:], uint32(len(dst)-start-frameHead))
	return append(dst, frameEnd)
}

// endBody ends the body frame that begins at start, and makes several frames of
// it if it is larger than frameMax.
func endBody(dst []byte, start, frameMax int) []byte {
	from := start + frameHead
	size, most := len(dst)-from, frameMax-frameOver
	if frameMax == 0 || size <= most {
		return endFrame(dst, start)
	}
	var head [frameHead]byte
	copy(head[:3], dst[start:])
	frames := (size + most - 1) / most
	for range (frames-1)*frameOver + 1 {
		dst = append(dst, 0)
	}
	// From the last to the first, so that nothing is overwritten before it moved.
	for i := frames - 1; i >= 0; i-- {
		n := min(most, size-i*most)
		at := from + i*(most+frameOver)
		copy(dst[at:at+n], dst[from+i*most:])
		binary.BigEndian.PutUint32(head[3:], uint32(n))
		copy(dst[at-frameHead:], head[:])
		dst[at+n] = frameEnd
	}
	return dst
}

// appendRaw appends JSON as one raw string of the first MessagePack, which every
// client of spectacles decodes.
func appendRaw(dst, json []byte) []byte {
	if len(json) == 0 {
		json = []byte("null")
	}
	return msgpack.AppendRaw(dst, json)
}

// appendHeaders appends the table of headers: shard, session and seq, and in a fleet epoch and owner.
func (e *encoder) appendHeaders(dst []byte, ev *sinks.Event) []byte {
	session, seq := ev.Identity()
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, "\x05shardl"...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(ev.Shard))
	dst = appendText(append(dst, "\x07session"...), session)
	dst = append(dst, "\x03seql"...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(seq))
	if ev.Epoch > 0 {
		dst = append(dst, "\x05epochl"...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(ev.Epoch))
		dst = append(dst, e.owner...)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// appendText appends a long string as the value of a header.
func appendText(dst []byte, text string) []byte {
	dst = append(dst, 'S')
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...)
}

// errShort is returned for a method that ends before its fields do.
var errShort = errors.New("a method from the broker is cut short")

// shortString returns the short string at the beginning of b.
func shortString(b []byte) (string, error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", errShort
	}
	return string(b[1 : 1+int(b[0])]), nil
}
