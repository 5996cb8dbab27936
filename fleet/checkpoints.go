// This file keeps the checkpoints of a member's shards at the coordinator.

package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sluice/internal/record"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// Store is the resume.Store of a member's shards. Load finds nothing: what resumes a shard is loaded
// when it is acquired. Starts are not stored: Turns count them.
func (f *Fleet) Store() resume.Store { return &store{f: f} }

type store struct {
	f      *Fleet
	number int64
	buf    []byte
}

func (s *store) Load(context.Context) (resume.State, error) { return resume.State{}, nil }

func (s *store) Close() error { return nil }

// Save stores checkpoints. Those of shards that are another's by now are refused, with a
// *resume.RefusedError: the others are stored then.
func (s *store) Save(ctx context.Context, changes resume.State) error {
	if len(changes.Checkpoints) == 0 {
		return nil
	}
	s.number++ // of this attempt: one that comes late must not replace it
	records := make([]Record, 0, len(changes.Checkpoints))
	s.buf = s.buf[:0]
	starts := make([]int, 0, len(changes.Checkpoints)+1)
	for shard, c := range changes.Checkpoints {
		starts = append(starts, len(s.buf))
		if !c.Empty() {
			s.buf = appendCheckpoint(s.buf, c)
		}
		records = append(records, Record{Shard: shard, Epoch: c.Epoch, Number: s.number})
	}
	starts = append(starts, len(s.buf))
	for i := range records {
		if from, to := starts[i], starts[i+1]; from < to {
			records[i].Data = s.buf[from:to:to]
		}
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	refused, err := s.f.o.Coordinator.Save(ctx, s.f.current(), records)
	if err != nil {
		return fmt.Errorf("fleet: save: %w", err)
	}
	if len(refused) > 0 {
		for _, shard := range refused {
			s.f.Dropped(shard, changes.Checkpoints[shard].Epoch)
		}
		return &resume.RefusedError{Shards: refused}
	}
	return nil
}

// saveTimeout bounds one attempt of Save, which is made again.
const saveTimeout = 5 * time.Second

// Layouts of a checkpoint's bytes. Earlier versions know the first alone: what has a Skip is written in the second.
const (
	layout     = 1
	layoutSkip = 2 // and Session.Skip behind
)

// appendCheckpoint appends a checkpoint but for its epoch, which its record has.
func appendCheckpoint(dst []byte, c resume.Checkpoint) []byte {
	if c.Skip != "" {
		dst = append(dst, layoutSkip)
	} else {
		dst = append(dst, layout)
	}
	dst = record.AppendText(dst, c.ID)
	dst = record.AppendText(dst, c.ResumeURL)
	for _, n := range [...]uint64{uint64(c.Seq), uint64(c.Shards), uint64(c.Began), uint64(c.Intents), c.Bot, resume.Millis(c.At)} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, g := range c.Gaps {
		dst = record.AppendText(dst, g.Session)
		dst = record.AppendText(dst, g.Reason)
		dst = binary.AppendUvarint(dst, uint64(g.Seq))
		dst = binary.AppendUvarint(dst, uint64(g.At))
	}
	if c.Skip != "" {
		dst = record.AppendText(dst, c.Skip)
	}
	return dst
}

// decode reads a checkpoint; of no bytes, the zero one.
func decode(shard int, b []byte) (c resume.Checkpoint, err error) {
	if len(b) == 0 {
		return c, nil
	}
	if b[0] != layout && b[0] != layoutSkip {
		return c, fmt.Errorf("it is of layout %d, which this version does not know", b[0])
	}
	r := record.Fields{Rest: b[1:]}
	c.ID = string(r.Text())
	c.ResumeURL = string(r.Text())
	c.Seq, c.Shards, c.Began = int64(r.Number()), int(r.Number()), int64(r.Number())
	c.Intents, c.Bot = wire.Intents(r.Number()), r.Number()
	if at := r.Number(); at != 0 {
		c.At = time.UnixMilli(int64(at))
	}
	for i := range c.Gaps {
		c.Gaps[i] = sinks.Gap{Session: string(r.Text()), Reason: string(r.Text()), Seq: int64(r.Number()), At: int64(r.Number())}
	}
	if b[0] == layoutSkip {
		c.Skip = string(r.Text())
	}
	if r.Bad || len(r.Rest) > 0 {
		return resume.Checkpoint{}, errors.New("it is not as it was written")
	}
	return resume.Check(shard, c)
}
