// This file writes sequence numbers in a short way.

package resume

import (
	"errors"
	"strconv"
	"strings"
)

// maxSkip bounds Session.Skip in bytes: some hundred runs of events.
const maxSkip = 512

// AppendSkip returns sequence numbers, which ascend and are above 0, as Session.Skip has them: with commas, the distance of each run of
// them from the last one, and its length. What makes it too long is left out: the highest.
func AppendSkip(seqs []int64) string {
	var b []byte
	last := int64(0)
	for i := 0; i < len(seqs); {
		n := 1
		for i+n < len(seqs) && seqs[i+n] == seqs[i]+int64(n) {
			n++
		}
		end := len(b)
		if end > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, seqs[i]-last, 36)
		b = strconv.AppendInt(append(b, ','), int64(n), 36)
		if len(b) > maxSkip {
			b = b[:end]
			break
		}
		last = seqs[i] + int64(n) - 1
		i += n
	}
	return string(b)
}

// ParseSkip returns the sequence numbers of Session.Skip.
func ParseSkip(text string) (seqs []int64, err error) {
	if text == "" {
		return nil, nil
	}
	bad := errors.New("it is no list of sequence numbers")
	parts := strings.Split(text, ",")
	if len(text) > maxSkip || len(parts)%2 != 0 {
		return nil, bad
	}
	last := int64(0)
	for i := 0; i < len(parts); i += 2 {
		distance, err := strconv.ParseInt(parts[i], 36, 64)
		n, err2 := strconv.ParseInt(parts[i+1], 36, 64)
		if err != nil || err2 != nil || distance < 1 || n < 1 || distance > maxSeq || last > maxSeq || n > 1<<16 || len(seqs) > 1<<16 {
			return nil, bad
		}
		for k := range n {
			seqs = append(seqs, last+distance+k)
		}
		last = seqs[len(seqs)-1]
	}
	return seqs, nil
}
