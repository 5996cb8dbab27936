// This file passes events on to the broker's sink, from memory and from the disk.

package spool

import (
	"context"
	"time"
)

// feed passes events on to the inner sink until ctx is done or it fails.
func (s *Sink) feed(ctx context.Context) {
	defer s.cursor.close()
	for {
		b, err := s.nextBatch()
		if err == nil && b != nil {
			err = s.inner.Publish(ctx, b.events, s.delivered)
			if err != nil && ctx.Err() == nil {
				s.mu.Lock()
				s.err = err
				s.mu.Unlock()
				signal(s.freed)
				return
			}
			if err == nil {
				continue
			}
		}
		var again <-chan time.Time
		if err != nil && ctx.Err() == nil {
			s.o.Log.Error("the spool cannot be read; it is tried again", "directory", s.o.Directory, "error", err)
			again = time.After(retryAfter)
		}
		select {
		case <-s.work:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// nextBatch returns what the inner sink gets next; nil: there is nothing.
func (s *Sink) nextBatch() (*batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.note()
	if s.given < len(s.queue) {
		s.given++
		return s.queue[s.given-1], nil
	}
	if !s.spooling {
		return nil, nil
	}
	b := s.newBatch()
	ok, err := s.cursor.read(b, s.log.list, readEvents)
	if err != nil || !ok {
		s.release(b)
		s.settle()
		return nil, err
	}
	b.left, b.end, b.old = len(b.events), s.cursor.at, s.log.isLeft(s.cursor.at.segment)
	s.queue = append(s.queue, b)
	s.memory += cap(b.text)
	s.given++
	return b, nil
}

// delivered is called by the inner sink.
func (s *Sink) delivered(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.note()
	s.progress = time.Now()
	var at position
	for n > 0 {
		b := s.queue[0]
		done := min(n, b.left)
		n -= done
		b.left -= done
		if b.acked != nil {
			s.inMemory -= done
			b.acked(done)
		} else {
			s.passed += int64(done)
			if !b.old {
				s.ages.remove(done)
			}
		}
		if b.left > 0 {
			break
		}
		if b.end != (position{}) {
			at = b.end
		}
		s.queue = append(s.queue[:0], s.queue[1:]...)
		s.given--
		s.memory -= cap(b.text)
		s.release(b)
	}
	if at != (position{}) {
		s.log.delivered(at)
		s.settle()
	}
	if len(s.queue) == 0 && !s.spooling {
		s.diskWorks() // or it is of no account any more
	}
	signal(s.freed)
}

// settle ends the spooling when nothing is left to be read or acknowledged.
func (s *Sink) settle() {
	if !s.spooling || len(s.queue) > 0 || len(s.log.list) > 0 && s.cursor.at != s.log.end() {
		return
	}
	s.log.delivered(s.log.end())
	s.spooling, s.ages = false, ages{} // also what could not be read
	s.o.Log.Info("the broker has all events of the spool", "events", s.passed, "after", time.Since(s.spoolFrom).Round(time.Millisecond))
}
