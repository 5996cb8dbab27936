// This file is a connection's reader: HELLO, frames and messages of the
// client, heartbeats, the send limit.

package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"sluice/wire"
)

const (
	ackMessage       = `{"t":null,"s":null,"op":11,"d":null}`
	reconnectMessage = `{"t":null,"s":null,"op":7,"d":null}`
	invalidMessage   = `{"t":null,"s":null,"op":9,"d":false}`
	invalidResumable = `{"t":null,"s":null,"op":9,"d":true}`
	beatMessage      = `{"t":null,"s":null,"op":1,"d":null}`

	reconnectReason = "Discord WebSocket requesting client reconnect."
)

// run starts the connection and reads until it is over. br holds what came
// with the upgrade.
func (c *conn) run(br *bufio.Reader) {
	defer c.srv.wg.Done()
	defer c.srv.gone(c)
	c.srv.wg.Add(1)
	go c.write()

	switch {
	case !c.refused:
		c.hello()
	case c.version < 6 || c.version > 10:
		c.close(wire.CloseInvalidVersion, "Invalid API version.")
	default:
		c.close(wire.CloseDecodeError, "Error while decoding payload.")
	}
	c.read(br)

	c.drop() // first: nobody attaches a session to a connection that is over
	if s := c.current(); s != nil {
		s.detach(c)
	}
}

func (c *conn) hello() {
	o := &c.srv.opt
	c.moment(BeforeHello)
	c.send(`{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":` +
		strconv.FormatInt(o.HeartbeatInterval.Milliseconds(), 10) +
		`,"_trace":["[\"gateway-prd-us-east1-c-7s4x\",{\"micros\":0.0}]"]}}`)
	c.mu.Lock()
	if !c.over {
		c.silence = time.AfterFunc(o.HeartbeatInterval+o.HeartbeatGrace, c.silent)
	}
	c.mu.Unlock()
	c.moment(AfterHello)
	if o.ReconnectEvery > 0 {
		c.later(o.ReconnectEvery, c.reconnect)
	}
	c.askHeartbeat()
}

// silent ends a connection whose heartbeat is missing.
func (c *conn) silent() {
	if c.mute.Load() {
		// Nothing may reach the client, not even the end of the socket.
		if s := c.current(); s != nil {
			s.detach(c)
		}
		if m, ok := rawConn(c.nc).(*memConn); ok {
			m.Blackhole()
			c.drop()
		}
		return
	}
	c.close(wire.CloseNormal, "")
}

// reconnect sends op 7 and closes the connection some time after it.
func (c *conn) reconnect() {
	c.send(reconnectMessage)
	c.later(c.srv.opt.ReconnectGrace, func() { c.close(wire.CloseGoingAway, reconnectReason) })
}

func (c *conn) askHeartbeat() {
	if d := c.srv.opt.AskHeartbeatEvery; d > 0 {
		c.later(d, func() {
			c.send(beatMessage)
			c.askHeartbeat()
		})
	}
}

// read reads frames until the connection ends.
func (c *conn) read(br *bufio.Reader) {
	var (
		header  [ws.MaxHeaderSize]byte
		message []byte // of the fragments so far
		open    bool   // a fragmented message has begun
		limit   = int64(c.srv.opt.MaxPayload)
	)
	for {
		h, err := ws.ReadHeaderBuffer(br, header[:])
		if err != nil {
			return
		}
		if h.Length < 0 || h.Length > max(limit, 125)+1<<20 {
			c.fail(wire.CloseDecodeError, "Error while decoding payload.")
			io.Copy(io.Discard, br)
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(br, payload); err != nil {
			return
		}
		if c.mute.Load() {
			continue
		}
		switch {
		case !h.Masked, h.Rsv != 0, h.OpCode.IsReserved(),
			h.OpCode.IsControl() && (!h.Fin || h.Length > 125),
			h.OpCode == ws.OpContinuation && !open,
			h.OpCode.IsData() && h.OpCode != ws.OpContinuation && open:
			c.fail(wire.CloseProtocolError, "Protocol error.")
			continue
		}
		ws.Cipher(payload, h.Mask, 0)
		switch h.OpCode {
		case ws.OpPing:
			c.push(item{frame: appendFrame(nil, ws.OpPong, true, payload)})
		case ws.OpPong:
		case ws.OpClose:
			c.clientClosed(payload)
		default:
			message = append(message, payload...)
			if open = !h.Fin; open {
				if int64(len(message)) > limit {
					c.fail(wire.CloseDecodeError, "Error while decoding payload.")
				}
				continue
			}
			c.receive(message)
			message = nil
		}
	}
}

// clientClosed is a close frame from the client: 1000 and 1001 end the session,
// anything else keeps it, and so does the answer to a close of the server's.
func (c *conn) clientClosed(payload []byte) {
	code, reason := wire.CloseNoStatus, ""
	if len(payload) >= 2 {
		code = wire.CloseCode(int(payload[0])<<8 | int(payload[1]))
		reason = string(payload[2:])
	}
	c.mu.Lock()
	answer := c.closing
	sess := c.sess
	c.noteCloseLocked(true, code, reason)
	c.mu.Unlock()
	if answer {
		return
	}
	if sess != nil && (code == wire.CloseNormal || code == wire.CloseGoingAway) {
		sess.endIf(c, EndClient)
	}
	c.push(item{frame: appendClose(nil, code, ""), last: true})
}

// envelope is what a client sends. s and t are ignored.
type envelope struct {
	Op *int            `json:"op"`
	D  json.RawMessage `json:"d"`
}

// receive handles one message.
func (c *conn) receive(raw []byte) {
	c.mu.Lock()
	ignore, st, shard := c.closing || c.over, c.state, c.shard
	c.mu.Unlock()
	if ignore {
		return
	}
	now := time.Now()
	if !c.allowed(now) {
		c.fail(wire.CloseRateLimited, "Rate limited.")
		return
	}
	if len(raw) > c.srv.opt.MaxPayload || !utf8.Valid(raw) {
		c.fail(wire.CloseDecodeError, "Error while decoding payload.")
		return
	}
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		c.fail(wire.CloseDecodeError, "Error while decoding payload.")
		return
	}
	if e.Op == nil {
		c.badCommand()
		return
	}
	op := wire.Opcode(*e.Op)
	l := c.srv.ledger
	if op != wire.OpHeartbeat {
		l.with(func() { l.commands.add(Command{Time: now, Conn: c.id, Shard: shard, Op: op, Raw: raw}) })
		c.srv.opt.Log.Debug("command", "conn", c.id, "shard", shard, "op", int(op), "bytes", len(raw))
	}
	switch op {
	case wire.OpHeartbeat:
		c.heartbeat(e.D)
	case wire.OpIdentify:
		c.identify(e.D)
	case wire.OpResume:
		c.resume(e.D)
	case wire.OpPresenceUpdate, wire.OpVoiceStateUpdate, wire.OpRequestGuildMembers,
		wire.OpRequestSoundboardSounds, wire.OpRequestChannelInfo:
		s := c.current()
		if st != stateReady || s == nil {
			c.fail(wire.CloseNotAuthenticated, "Not authenticated.")
			return
		}
		c.command(s, op, e.D)
	default:
		c.badCommand()
	}
}

// badCommand closes with 4001. Such a session is usually gone.
func (c *conn) badCommand() {
	if s := c.current(); s != nil {
		s.endIf(c, EndBadCommand)
	}
	c.close(wire.CloseUnknownOpcode, "Unknown opcode.")
}

// allowed counts one message and reports whether it is within the limit.
func (c *conn) allowed(now time.Time) bool {
	c.sends = recent(c.sends, now, c.srv.opt.SendWindow)
	c.sends = append(c.sends, now)
	n := len(c.sends)
	l := c.srv.ledger
	within := n <= c.srv.opt.SendLimit
	l.with(func() {
		l.maxSends = max(l.maxSends, n)
		if !within {
			l.violations++
		}
	})
	return within
}

// recent drops the times that lie outside the window.
func recent(times []time.Time, now time.Time, window time.Duration) []time.Time {
	i := 0
	for i < len(times) && now.Sub(times[i]) >= window {
		i++
	}
	return append(times[:0], times[i:]...)
}

func (c *conn) heartbeat(d json.RawMessage) {
	seq := int64(-1)
	if len(d) > 0 && string(d) != "null" {
		if err := json.Unmarshal(d, &seq); err != nil {
			c.fail(wire.CloseDecodeError, "Error while decoding payload.")
			return
		}
	}
	c.mu.Lock()
	if c.silence != nil {
		c.silence.Reset(c.srv.opt.HeartbeatInterval + c.srv.opt.HeartbeatGrace)
	}
	c.beats++
	s, shard := c.sess, c.shard
	c.mu.Unlock()
	c.moment(OnHeartbeat)
	acked := !c.noACK.Load()
	l := c.srv.ledger
	l.with(func() {
		l.heartbeats.add(Heartbeat{Time: time.Now(), Conn: c.id, Shard: shard, Seq: seq, Acked: acked})
		if s != nil {
			s.log.info.Claimed = max(s.log.info.Claimed, min(seq, s.log.info.Last))
		}
	})
	if log := c.srv.opt.Log; log.Enabled(context.Background(), slog.LevelDebug) {
		log.Debug("heartbeat", "conn", c.id, "shard", shard, "seq", seq, "acknowledged", acked)
	}
	if acked {
		c.send(ackMessage)
	}
}
