// This file is the sink: batches of events into few writes, and the exact count
// of what was written.

package stdio

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"sluice/sinks"
	"sluice/sinks/broker"
)

const (
	// chunk is the size of a write when there is more to write. A pipe holds
	// 64 KiB on Linux; a chunk of a few times that keeps both ends busy and
	// stays in the processor's cache.
	chunk = 256 << 10
	// direct is the size from which an event's data is written from where it
	// lies, in a write of its own, instead of being copied.
	direct = 64 << 10
)

// Sink writes events to an io.Writer. It implements sinks.Sink.
//
// Publish must not be called by two goroutines at the same time; Close may be
// called at any time.
type Sink struct {
	// Owner is this process's name in a fleet, which events with an Epoch have. It is set before Publish is called.
	Owner string

	w      io.Writer
	format Format
	buf    []byte // what is not yet written, empty between calls
	ends   []int  // where in buf events of the batch end
	acked  int    // events of the batch that are written whole
	err    error  // of the first write that failed

	figures *broker.Figures
	pending atomic.Int64 // events of the batch
	given   atomic.Int64 // when it came, and when the write that goes on was begun: nanoseconds since 1970,
	writing atomic.Int64 // 0: there is none
}

// NewSink returns a sink that writes to w, which stays the caller's to close.
func NewSink(w io.Writer, format Format) *Sink {
	s := &Sink{w: w, format: format, figures: broker.NewFigures(nil, nil)}
	s.figures.Back()
	return s
}

// Publish writes the events of batch and acknowledges, once, those that were
// written with all their bytes. Nothing is kept back for a later call: a lone
// event leaves at once.
//
// After a failed write the output may end in the middle of an event, so every
// later call fails with the same error; IsClosedPipe reports whether nobody reads
// any more. ctx is looked at before the first byte and no more, since a write
// that has begun can be neither taken back nor called off.
func (s *Sink) Publish(ctx context.Context, batch []sinks.Event, acked func(n int)) error {
	if s.err == nil && ctx.Err() != nil {
		return fmt.Errorf("stdio: write: %w", context.Cause(ctx))
	}
	s.acked = 0
	s.given.Store(time.Now().UnixNano())
	s.pending.Store(int64(len(batch)))
	s.figures.Batch(len(batch), 0)
	for i := range batch {
		if s.err != nil {
			break
		}
		s.add(&batch[i])
	}
	s.flush()
	s.pending.Store(0)
	s.figures.Published.Add(int64(s.acked))
	acked(s.acked)
	return s.err
}

// Close does nothing: Publish keeps nothing back, and the writer is not the
// sink's.
func (s *Sink) Close() error { return nil }

// add puts an event into buf, and writes when buf is full.
func (s *Sink) add(ev *sinks.Event) {
	data := ev.Data
	if len(data) == 0 {
		data = []byte("null")
	}
	copied := headroom + len(ev.Type) + len(ev.Session)
	if ev.Epoch > 0 {
		copied += fleetroom + len(s.Owner)
	}
	if len(data) < direct {
		copied += len(data)
	}
	if len(s.buf) > 0 && len(s.buf)+copied > chunk {
		s.flush()
	}
	s.buf = s.format.appendHead(s.buf, ev, s.Owner, len(data))
	if len(data) < direct {
		start := len(s.buf)
		s.buf = append(s.buf, data...)
		if s.format == JSON && isMultiline(data) {
			joinLines(s.buf[start:])
		}
	} else if s.addLarge(data); s.err != nil {
		return // what is in buf must not be taken for this event's end
	}
	s.buf = s.format.appendTail(s.buf)
	s.ends = append(s.ends, len(s.buf))
}

// addLarge writes buf and then data.
func (s *Sink) addLarge(data []byte) {
	s.flush()
	if s.format == JSON && isMultiline(data) {
		for piece := range slices.Chunk(data, chunk) {
			s.buf = append(s.buf, piece...)
			joinLines(s.buf)
			s.flush()
		}
		return
	}
	s.write(data)
}

// flush writes buf and counts the events whose last byte that was.
func (s *Sink) flush() {
	n := s.write(s.buf)
	for _, end := range s.ends {
		if end > n {
			break
		}
		s.acked++
	}
	s.ends = s.ends[:0]
	s.buf = s.buf[:0]
	if cap(s.buf) > 2*chunk {
		s.buf = nil // it was grown by a name of absurd length
	}
}

// write writes b, unless a write failed before, and returns how many of its
// bytes were written. A failure is left in err.
func (s *Sink) write(b []byte) int {
	if len(b) == 0 || s.err != nil {
		return 0
	}
	began := time.Now()
	s.writing.Store(began.UnixNano())
	n, err := s.w.Write(b)
	s.writing.Store(0)
	if time.Since(began) >= stalled {
		s.figures.Lost(began, errStalled)
		s.figures.Back()
	}
	if n < len(b) && err == nil {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.err = fmt.Errorf("stdio: %w", err)
		s.figures.Lost(time.Now(), s.err)
	}
	return n
}
