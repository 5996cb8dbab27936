// This file is Resume: who may, what is replayed, and RESUMED.

package sim

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/wire"
)

type resumeData struct {
	Token     *string      `json:"token"`
	SessionID *string      `json:"session_id"`
	Seq       *json.Number `json:"seq"`
}

const resumedData = `{"_trace":["[\"gateway-prd-us-east1-c-7s4x\",{\"micros\":4493,\"calls\":[\"id_created\",{\"micros\":622,\"calls\":[]},` +
	`\"session_lookup_time\",{\"micros\":861,\"calls\":[]}]}]"]}`

// resume handles an op 6.
func (c *conn) resume(d json.RawMessage) {
	srv := c.srv
	note := Resume{Time: time.Now(), Conn: c.id, Shard: -1, Host: c.host}
	var s *session
	record := func(outcome string) {
		note.Outcome = outcome
		srv.ledger.with(func() {
			srv.ledger.resumes.add(note)
			if s == nil {
				return
			}
			switch info := &s.log.info; outcome {
			case "resumed":
				info.Resumes++
				info.Claimed = max(info.Claimed, note.Seq)
			case "cut":
				info.CutResumes++
			}
		})
		srv.opt.Log.Info("Resume", "conn", c.id, "host", c.host, "shard", note.Shard, "session", note.Session, "seq", note.Seq,
			"replayed", note.Replayed, "outcome", outcome)
	}
	c.mu.Lock()
	st := c.state
	c.mu.Unlock()
	if st != stateNew {
		record(strconv.Itoa(int(wire.CloseAlreadyAuthenticated)))
		c.close(wire.CloseAlreadyAuthenticated, "Already authenticated.")
		return
	}
	var r resumeData
	if err := json.Unmarshal(d, &r); err != nil || r.Token == nil || r.SessionID == nil || r.Seq == nil {
		record(strconv.Itoa(int(wire.CloseDecodeError)))
		c.fail(wire.CloseDecodeError, "Error while decoding payload.")
		return
	}
	note.Session = *r.SessionID
	seq, err := strconv.ParseInt(r.Seq.String(), 10, 64)
	note.Seq = seq

	token := *r.Token
	if !srv.opt.StrictResumeToken {
		token = strings.TrimPrefix(token, "Bot ")
	}
	s = srv.session(*r.SessionID)
	if s == nil || !srv.tokenIs(token) {
		reason := "unknown session"
		if s != nil {
			reason = "wrong token"
			s = nil
		}
		srv.ledger.refuse(*r.SessionID, seq, reason)
		record(reason)
		c.send(invalidMessage)
		return
	}
	note.Shard, note.QueryRepeated = s.shard, c.query == s.query
	c.mu.Lock()
	c.shard, c.about = s.shard, s
	c.payload = s.payload
	c.mu.Unlock()
	srv.numberConn(c, s.shard)
	wish := c.moment(OnResume)
	if wish.invalid != nil {
		if *wish.invalid {
			record("op 9 true")
			c.send(invalidResumable)
			return
		}
		srv.ledger.refuse(s.id, seq, "invalidated")
		s.end(EndInvalidated)
		record("invalidated")
		c.send(invalidMessage)
		return
	}
	if s.isLive(c) {
		live := c.moment(OnResumeLive)
		if live.invalid != nil { // the session goes on where it is
			record(fmt.Sprintf("op 9 %t, the session has a connection", *live.invalid))
			c.send(opNine(*live.invalid))
			return
		}
		wish.old = live.old
		wish.delay += live.delay
	}
	c.mu.Lock()
	c.state = stateWaiting
	c.mu.Unlock()
	c.later(wish.delay, func() { c.resumeAt(s, seq, err != nil || seq < 0, wish.old, &note, record) })
}

// resumeAt goes on with a Resume of s after its seq, which may be bad. What becomes
// of the session's old connection is said by old, which may be nil.
func (c *conn) resumeAt(s *session, seq int64, bad bool, old *Action, note *Resume, record func(outcome string)) {
	srv := c.srv
	refuse := func() {
		c.mu.Lock()
		c.state = stateNew
		c.mu.Unlock()
		c.send(invalidMessage)
	}
	s.mu.Lock()
	switch {
	case s.ended: // since it was looked up
		s.mu.Unlock()
		srv.ledger.refuse(s.id, seq, "expired")
		record("expired")
		refuse()
		return
	case bad || seq > s.seq:
		s.endLocked(EndBadSeq)
		s.mu.Unlock()
		record(strconv.Itoa(int(wire.CloseInvalidSeq)))
		c.close(wire.CloseInvalidSeq, "Invalid seq.")
		return
	}
	missed, ok := s.after(seq)
	if !ok {
		srv.ledger.refuse(s.id, seq, string(EndOverrun))
		s.endLocked(EndOverrun)
		s.mu.Unlock()
		record(string(EndOverrun))
		refuse()
		return
	}
	note.Replayed = len(missed)
	c.mu.Lock()
	if c.closing || c.over {
		c.mu.Unlock()
		s.mu.Unlock()
		record("cut")
		return
	}
	c.sess, c.state = s, stateReady
	c.mu.Unlock()
	s.attachLocked(c, old)
	cut := c.replay(s, missed)
	c.mu.Lock()
	c.planFaultsLocked()
	c.mu.Unlock()
	s.dispatchLocked("RESUMED", []byte(resumedData))
	s.mu.Unlock()
	if cut {
		record("cut")
	} else {
		record("resumed")
	}
	c.moment(AfterResumed)
}

// replay queues missed events and reports whether a fault ended it half way.
func (c *conn) replay(s *session, missed []replayed) (cut bool) {
	faults := c.replayFaults(len(missed))
	for i, m := range missed {
		for _, f := range faults {
			if f.after == i {
				c.act(f.action)
			}
		}
		c.push(item{msg: m.body, seq: m.seq, log: s.log})
	}
	for _, f := range faults {
		if f.after >= len(missed) {
			c.act(f.action)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing || c.over
}

// refuse notes that a session's events after seq were not replayed.
func (l *Ledger) refuse(id string, seq int64, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if log := l.byID[id]; log != nil {
		log.info.Refused, log.info.RefusedSeq, log.info.RefusedReason = true, seq, reason
	}
}
