// This file records which events of a shard have been processed.

package consumers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// DefaultLimit is the limit of a Seen that has none of its own.
const DefaultLimit = 8192

const (
	maxSessions = 256       // of a generation: a consumer that has been away may have many before it, in one stream after the other
	maxSeq      = 1<<53 - 1 // the largest that every language has exactly
)

// Seen is which events of one shard have been processed: an exact set of their sessions and
// seqs, in whatever order they come, from however many streams, queues and consumers. It is
// bounded: of seqs that follow one another a range is kept, and of ranges the last Limit at
// most, at least the last half of that. What is forgotten counts as not processed: an event is
// rather processed again than lost.
//
// Its text belongs into the transaction that has the event's effect. One goroutine uses it at a
// time. The zero value has seen nothing.
//
// Who owns the shard, which its epoch says once several gateways share a bot, makes no
// difference: a session's events keep their names whoever passes them on. Epochs is what tells owners apart.
type Seen struct {
	Limit int // of ranges; 0: DefaultLimit

	// Two generations. When the younger one is full, it becomes the older, and that is dropped.
	young, old []sessionRanges
	ranges     int // in young
}

// sessionRanges is a session's seqs, in ascending order, none next to another.
type sessionRanges struct {
	session string
	ranges  []seqRange
}

// seqRange is from first to last, both included.
type seqRange struct{ first, last int64 }

// named reports whether an event has a name. Discord counts from 1.
func named(session string, seq int64) bool { return session != "" && seq > 0 && seq <= maxSeq }

// Has reports whether the event has been processed, as far as is known. One without a session or
// a seq never has.
func (s *Seen) Has(session string, seq int64) bool {
	return named(session, seq) && (covers(s.young, session, seq) || covers(s.old, session, seq))
}

func covers(generation []sessionRanges, session string, seq int64) bool {
	for i := range generation {
		if generation[i].session == session {
			at := search(generation[i].ranges, seq)
			return at > 0 && generation[i].ranges[at-1].last >= seq
		}
	}
	return false
}

// search returns how many of the ranges begin at seq or before.
func search(ranges []seqRange, seq int64) int {
	at, _ := slices.BinarySearchFunc(ranges, seq+1, func(r seqRange, seq int64) int { return int(r.first - seq) })
	return at
}

// Add notes that the event has been processed. It does nothing if that is known.
func (s *Seen) Add(session string, seq int64) {
	if !named(session, seq) || s.Has(session, seq) {
		return
	}
	limit := s.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	i := slices.IndexFunc(s.young, func(r sessionRanges) bool { return r.session == session })
	if s.ranges >= (limit+1)/2 || i < 0 && len(s.young) >= maxSessions {
		s.young, s.old, s.ranges, i = nil, s.young, 0, -1
	}
	if i < 0 {
		i = len(s.young)
		s.young = append(s.young, sessionRanges{session: session})
	}
	ranges := s.young[i].ranges
	at := search(ranges, seq)
	before, after := at > 0 && ranges[at-1].last == seq-1, at < len(ranges) && ranges[at].first == seq+1
	switch {
	case before && after:
		ranges[at-1].last = ranges[at].last
		ranges = slices.Delete(ranges, at, at+1)
		s.ranges--
	case before:
		ranges[at-1].last = seq
	case after:
		ranges[at].first = seq
	default:
		ranges = slices.Insert(ranges, at, seqRange{seq, seq})
		s.ranges++
	}
	s.young[i].ranges = ranges
}

// seenText is the form of a Seen as text: for each session its ranges, such as "1-5,7".
type seenText struct {
	Version int         `json:"version"`
	Young   [][2]string `json:"young"`
	Old     [][2]string `json:"old"`
}

// String returns the Seen as text, which ParseSeen reads, in each of the languages.
func (s *Seen) String() string {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.Encode(seenText{1, formatGeneration(s.young), formatGeneration(s.old)}) // of strings and a number: it does not fail
	return strings.TrimSuffix(text.String(), "\n")
}

func formatGeneration(generation []sessionRanges) [][2]string {
	all := [][2]string{}
	for _, s := range generation {
		var b []byte
		for i, r := range s.ranges {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, r.first, 10)
			if r.last > r.first {
				b = strconv.AppendInt(append(b, '-'), r.last, 10)
			}
		}
		all = append(all, [2]string{s.session, string(b)})
	}
	return all
}

// ParseSeen reads what String has written. The empty text is that of a consumer that begins.
// The error says that the text is something else: it must not be taken for that of one.
func ParseSeen(text string) (*Seen, error) {
	s := new(Seen)
	if text == "" {
		return s, nil
	}
	var t seenText
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return nil, fmt.Errorf("seen: %w", err)
	}
	if t.Version != 1 {
		return nil, fmt.Errorf("seen: version %d is none that is known", t.Version)
	}
	var err error
	if s.young, err = parseGeneration(t.Young); err == nil {
		s.old, err = parseGeneration(t.Old)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range s.young {
		s.ranges += len(r.ranges)
	}
	return s, nil
}

func parseGeneration(text [][2]string) ([]sessionRanges, error) {
	var generation []sessionRanges
	for _, t := range text {
		s := sessionRanges{session: t[0]}
		for part := range strings.SplitSeq(t[1], ",") {
			first, last, found := strings.Cut(part, "-")
			if !found {
				last = first
			}
			r := seqRange{parseSeq(first), parseSeq(last)}
			if r.first < 1 || r.last < r.first || len(s.ranges) > 0 && r.first <= s.ranges[len(s.ranges)-1].last+1 {
				return nil, fmt.Errorf("seen: %.40q of session %.40q is no range behind the one before", part, t[0])
			}
			s.ranges = append(s.ranges, r)
		}
		if s.session == "" || slices.ContainsFunc(generation, func(r sessionRanges) bool { return r.session == s.session }) {
			return nil, fmt.Errorf("seen: session %.40q is empty or stands twice", t[0])
		}
		generation = append(generation, s)
	}
	return generation, nil
}

// parseSeq returns 0 for what is no seq.
func parseSeq(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > maxSeq || strconv.FormatInt(n, 10) != text {
		return 0
	}
	return n
}
