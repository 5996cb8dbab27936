// This file checks what a server sends before rueidis reads it, which trusts its server: it
// allocates what a reply announces, and panics over a length below zero, a reply that nothing asked
// for, and a redirection without an address.

package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// guard has a client check its connections, and limits the rate of its attempts to connect.
func guard(o *rueidis.ClientOption) {
	dial := dialOf(o)
	p := pacer{next: make(map[string]time.Time)}
	o.DialCtxFn = func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
		if err := p.wait(ctx, address); err != nil {
			return nil, err
		}
		conn, err := dial(ctx, address, d, secure)
		if err != nil {
			return nil, err
		}
		return &guardedConn{Conn: conn}, nil
	}
}

// dialFunc makes a connection for rueidis.
type dialFunc = func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error)

// dialOf returns how a client connects.
func dialOf(o *rueidis.ClientOption) dialFunc {
	if o.DialCtxFn != nil {
		return o.DialCtxFn
	}
	return func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
		if secure != nil {
			return (&tls.Dialer{NetDialer: d, Config: secure}).DialContext(ctx, "tcp", address)
		}
		return d.DialContext(ctx, "tcp", address)
	}
}

// counted counts the connections that are made.
func counted(dial dialFunc, made *atomic.Int64) dialFunc {
	return func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
		conn, err := dial(ctx, address, d, secure)
		if err == nil {
			made.Add(1)
		}
		return conn, err
	}
}

// pacer bounds how often an address is connected to, whoever is behind a loop.
type pacer struct {
	mu   sync.Mutex
	next map[string]time.Time
}

const (
	dialPause = 100 * time.Millisecond // between two attempts,
	dialBurst = 5                      // but for so many
)

func (p *pacer) wait(ctx context.Context, address string) error {
	p.mu.Lock()
	now := time.Now()
	at := p.next[address]
	if earliest := now.Add(-(dialBurst - 1) * dialPause); at.Before(earliest) {
		at = earliest
	}
	p.next[address] = at.Add(dialPause)
	p.mu.Unlock()
	if d := at.Sub(now); d > 0 {
		pause(ctx, d)
	}
	return ctx.Err()
}

// guardedConn ends a connection over which something else comes than replies to what was sent. It
// allocates nothing. One goroutine reads, and one writes.
type guardedConn struct {
	net.Conn
	sent    framing
	replies replies
	asked   atomic.Int64 // commands without a reply
	pubsub  atomic.Bool  // a subscription was sent, as to a Sentinel: its messages are no replies
	err     error        // of the reader
}

// ReplyError is a reply that is no RESP, or larger than any that Redis gives to the gateway.
type ReplyError struct {
	Reason string
	Large  bool // it is larger than the bounds; it may be one of Redis
}

func (e *ReplyError) Error() string { return "redis: the server's reply " + e.Reason }

// Write sends commands.
func (c *guardedConn) Write(p []byte) (int, error) {
	n, subscribes := c.sent.feed(p)
	if subscribes {
		c.pubsub.Store(true)
	}
	if n > 0 {
		c.asked.Add(int64(n)) // before a reply can come
	}
	return c.Conn.Write(p)
}

// Read returns replies, or parts of them, that have been checked.
func (c *guardedConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	complete, bad := c.replies.feed(p[:n], c.pubsub.Load())
	if bad == "" && complete > 0 && c.asked.Add(int64(-complete)) < 0 && !c.pubsub.Load() {
		bad = "is to no command"
	}
	if bad != "" {
		c.err = &ReplyError{Reason: bad, Large: c.replies.large}
		c.Conn.Close()
		return 0, c.err
	}
	return n, err
}

// framing follows what is sent, which is arrays of bulk strings.
type framing struct {
	number int
	array  bool // number is that of a command's arguments, not the length of one
	name   bool // the next argument is the command's name
	skip   int  // bytes of an argument
}

// feed returns how many commands begin in p, and whether one subscribes.
func (c *framing) feed(p []byte) (begun int, subscribes bool) {
	for i := 0; i < len(p); i++ {
		if c.skip > 0 {
			n := min(c.skip, len(p)-i)
			if c.name {
				c.name = false // SUBSCRIBE or PSUBSCRIBE; rueidis' buffer has room for all of it
				subscribes = subscribes || n == c.skip && (n == 11 || n == 12) && string(p[i+n-11:i+n-2]) == "SUBSCRIBE"
			}
			c.skip -= n
			i += n - 1
			continue
		}
		switch b := p[i]; {
		case b >= '0' && b <= '9':
			c.number = 10*c.number + int(b-'0')
		case b == '*':
			begun++
			c.array, c.number = true, 0
		case b == '$':
			c.array, c.number = false, 0
			for i+1 < len(p) && p[i+1] >= '0' { // most bytes that are looked at are of these numbers
				i++
				c.number = 10*c.number + int(p[i]-'0')
			}
		case b == '\n' && c.array:
			c.name = true
		case b == '\n':
			c.skip = c.number + 2
		}
	}
	return begun, subscribes
}

// Bounds of one reply. Of those that the gateway asks for, the largest are entries with
// commands, 512 or 4 of each stream, which may be of 512 MiB each: a bot decides that. What is
// beyond the bounds is read in smaller parts, or refused unread (read.go).
const (
	maxBulk     = 64 << 20
	maxReply    = 512 << 20
	maxElements = 1 << 20
	maxDepth    = 8
	maxLine     = 64 << 10
)

// replies follows the framing of RESP2 and RESP3, without the streamed types and blob errors, which
// Redis does not send.
type replies struct {
	state  replyState
	typ    byte
	number int // of a line, or what is left of a bulk string
	minus  bool
	line   int // bytes of the line
	cr     bool

	depth    int
	left     [maxDepth]int  // elements
	aside    [maxDepth]bool // the aggregate is an attribute: what it is of follows
	elements int            // of the reply
	bytes    int
	push     bool // the reply is none, but a message of the server's own
	large    bool // the reply is beyond the bounds, and is nothing worse as far as is known

	prefix [16]byte // of a line
	spaces int
}

type replyState uint8

const (
	atType replyState = iota
	inNumber
	inText
	inBulk
	afterBulk // before its line's end
)

// feed follows p. It returns how many replies end in it, and what is wrong with it, if anything is.
func (r *replies) feed(p []byte, pubsub bool) (complete int, bad string) {
	for i := 0; i < len(p); i++ {
		b := p[i]
		ended := false // a value that is no aggregate with elements
		switch r.state {
		case atType:
			if r.depth == 0 {
				r.elements, r.bytes, r.push = 0, 0, false
			}
			r.typ, r.number, r.minus, r.line, r.cr, r.spaces = b, 0, false, 0, false, 0
			switch b {
			case '$', '=', '*', '~', '%', '|', '>':
				r.state = inNumber
				if b == '>' {
					if r.depth > 0 {
						return complete, "has a message of the server's own in it"
					}
					r.push = true
				}
			case '+', '-', ':', '_', '#', ',', '(':
				r.state = inText
				r.prefix = [16]byte{}
			default:
				return complete, fmt.Sprintf("begins with %q", b)
			}
		case inNumber:
			switch {
			case r.cr && b == '\n' && r.line > 0:
				if ended, bad = r.header(pubsub); bad != "" {
					return complete, bad
				}
			case r.cr:
				return complete, "has a length that is none"
			case b == '\r':
				r.cr = true
			case b == '-' && r.line == 0 && !r.minus:
				r.minus = true
			case b >= '0' && b <= '9' && r.line < 10:
				r.number = 10*r.number + int(b-'0')
				r.line++
			default:
				return complete, "has a length that is none"
			}
		case inText:
			switch {
			case b == '\n' && r.cr:
				if bad = r.text(); bad != "" {
					return complete, bad
				}
				ended = true
			case b == '\n':
				return complete, "has a line that does not end with CR LF"
			default:
				r.cr = b == '\r'
				if r.line < len(r.prefix) {
					r.prefix[r.line] = b
				}
				if b == ' ' {
					r.spaces++
				}
				if r.line++; r.line > maxLine {
					return complete, fmt.Sprintf("has a line of more than %d bytes", maxLine)
				}
			}
		case inBulk:
			n := min(r.number, len(p)-i)
			r.number -= n
			i += n - 1
			if r.number == 0 {
				r.state = afterBulk
			}
		case afterBulk:
			switch {
			case b == '\r' && !r.cr:
				r.cr = true
			case b == '\n' && r.cr:
				ended = true
			default:
				return complete, "has a string that is longer than its length"
			}
		}
		if !ended {
			continue
		}
		if r.state = atType; r.end() && !r.push {
			complete++
		}
	}
	return complete, ""
}

// end ends a value, and the aggregates that it is the last of. It reports whether a reply ends.
func (r *replies) end() bool {
	for r.depth > 0 {
		if r.left[r.depth-1]--; r.left[r.depth-1] > 0 {
			return false
		}
		if r.depth--; r.aside[r.depth] {
			return false
		}
	}
	return true
}

// header goes through the line before an aggregate or a string. It reports whether that was all of
// the value.
func (r *replies) header(pubsub bool) (ended bool, bad string) {
	r.state, r.cr = atType, false
	switch {
	case r.minus && r.number == 1 && (r.typ == '$' || r.typ == '*'):
		return true, "" // null
	case r.minus:
		return false, "has a length below zero"
	case r.typ == '$' || r.typ == '=':
		if r.bytes += r.number; r.number > maxBulk || r.bytes > maxReply {
			r.large = true
			return false, fmt.Sprintf("has a string of %d bytes, %d in all", r.number, r.bytes)
		}
		if r.state = inBulk; r.number == 0 {
			r.state = afterBulk
		}
		return false, ""
	case r.push && !pubsub:
		return false, "is a message of the server's own, which nobody has asked for"
	case r.number > maxElements:
		r.large = true
		return false, fmt.Sprintf("has %d elements", r.number)
	}
	if r.typ == '%' || r.typ == '|' {
		r.number *= 2
	}
	if r.elements += r.number; r.elements > maxElements {
		r.large = true
		return false, fmt.Sprintf("has %d elements", r.elements)
	}
	if r.number == 0 {
		return r.typ != '|', ""
	}
	if r.depth == maxDepth {
		return false, fmt.Sprintf("is nested more than %d deep", maxDepth)
	}
	r.left[r.depth], r.aside[r.depth] = r.number, r.typ == '|'
	r.depth++
	return false, ""
}

// text goes through a line that is a value. Its length here includes the CR.
func (r *replies) text() (bad string) {
	switch r.typ {
	case '_':
		if r.line != 1 {
			return "has a null that is something"
		}
	case '#':
		if r.line != 2 {
			return "has a boolean of more than one letter"
		}
	case '-':
		text, spaces := r.prefix[:min(r.line, len(r.prefix))], r.spaces
		if after, ok := bytes.CutPrefix(text, []byte("ERR ")); ok {
			text, spaces = after, spaces-1
		}
		if spaces < 2 && (bytes.HasPrefix(text, []byte("MOVED")) || bytes.HasPrefix(text, []byte("ASK")) || bytes.HasPrefix(text, []byte("REDIRECT"))) {
			return "is a redirection to nowhere"
		}
	}
	return ""
}
