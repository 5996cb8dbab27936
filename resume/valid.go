// This file decides what may be stored: the same for what is written and for what is read.

package resume

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

// MaxShards is the most shards that a checkpoint can be of.
const MaxShards = 1 << 16

// Bounds of what a checkpoint holds, which comes from a peer: all of them together, and
// wire.MaxSessionID, fit into MaxSize. Discord's addresses have less than 100 bytes.
const (
	maxURL    = 1024
	maxReason = 512
	maxSeq    = 1 << 53         // the largest that Lua has exactly; no session comes so far
	maxGapAt  = 253402300799999 // in milliseconds, the end of the year 9999: RFC 3339 has no later one
)

// MaxSize bounds the bytes of a checkpoint as a store writes it.
const MaxSize = 4 << 10

// Check returns the checkpoint of a shard as it may be stored and read: without what a
// session does well without (a reason's end, an address at which to resume, a gap that names
// nothing). Without an error it is the one given, or less. With an error it can't be kept,
// and what is returned has no session.
//
// Every store writes and reads through it, so that none holds what it would not read.
func Check(shard int, c Checkpoint) (Checkpoint, error) {
	if shard < 0 || shard >= MaxShards {
		return Checkpoint{}, fmt.Errorf("shard %d is none of 0 to %d", shard, MaxShards-1)
	}
	var gaps [2]sinks.Gap
	n := 0
	for _, g := range c.Gaps {
		if wire.ValidSessionID(g.Session) && g.Seq >= 0 && g.Seq <= maxSeq && g.At >= 0 && g.At <= maxGapAt {
			g.Reason = shorten(g.Reason)
			gaps[n] = g
			n++
		}
	}
	c.Gaps = gaps
	if len(c.ResumeURL) > maxURL {
		c.ResumeURL = "" // the main address serves as well
	}
	if _, err := ParseSkip(c.Skip); err != nil {
		c.Skip = ""
	}
	if ms := c.At.UnixMilli(); !c.At.IsZero() && (ms <= 0 || ms > math.MaxInt64/2) {
		c.At = time.Time{}
	}
	none := Session{Gaps: gaps, Began: c.Began, Epoch: c.Epoch}
	if c.ID == "" {
		c.Session = none
		return c, nil
	}
	var err error
	switch {
	case !wire.ValidSessionID(c.ID):
		err = fmt.Errorf("session id %.40q is not up to %d printable characters of ASCII", c.ID, wire.MaxSessionID)
	case c.Seq < 0 || c.Seq > maxSeq:
		err = fmt.Errorf("sequence number %d is none of 0 to %d", c.Seq, int64(maxSeq))
	case c.Shards < 0 || c.Shards > MaxShards:
		err = fmt.Errorf("a shard count of %d", c.Shards)
	case c.Shards > 0 && shard >= c.Shards:
		err = fmt.Errorf("shard %d of %d", shard, c.Shards)
	}
	if err != nil {
		c.Session = none
	}
	return c, err
}

// shorten returns at most maxReason bytes of a reason, and no part of a character.
func shorten(reason string) string {
	if len(reason) > maxReason {
		return strings.ToValidUTF8(reason[:maxReason], "")
	}
	return reason
}

// Check reports whether a count of Identifies may be stored, and read.
func (s Starts) Check() error {
	ms := s.Until.UnixMilli()
	switch {
	case s.Count < 0 || s.Count > math.MaxInt32:
		return fmt.Errorf("a count of %d session starts", s.Count)
	case !s.Until.IsZero() && (ms < 0 || ms > math.MaxInt64/2):
		return errors.New("a count of session starts for no time")
	}
	return nil
}

// Checked returns changes as they may be stored: what cannot be kept becomes the removal of
// what its shard had.
func (s State) Checked() State {
	out := State{}
	if s.Checkpoints != nil {
		out.Checkpoints = make(map[int]Checkpoint, len(s.Checkpoints))
		for shard, c := range s.Checkpoints {
			c, err := Check(shard, c)
			if err == nil || shard >= 0 && shard < MaxShards {
				out.Checkpoints[shard] = c
			}
		}
	}
	if s.Starts.Check() == nil {
		out.Starts = s.Starts
	}
	if s.Plan.Check() == nil {
		out.Plan = s.Plan
	}
	return out
}

// Millis returns a time as stores keep it; 0 is the zero Time.
func Millis(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli())
}
