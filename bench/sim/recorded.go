// This file reads the events of recordings, and how libzstd compressed them.

package sim

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// recordedEvents is what libzstd made of 1,000 events with Discord's parameters
// (TestRecordedEvents writes it), in the format of internal/zstd's streams: for
// each message its length, that of its JSON, both in 4 bytes, little endian, 8
// bytes of the JSON's SHA-256, and itself. All together they are one stream.
//
// It has a part for each number of digits of a seq, with the same events: up to
// 999 all seqs from 2 on, of more digits the first 1,000. What comes before the
// last three digits can be replaced, which makes the seqs that follow: a segment
// begins with a raw block up to the end of the seq, and has those digits nowhere
// else, as libzstd copied them from there.
//
//go:embed testdata/events.stream
var recordedEvents []byte

const (
	// recordedPeriod is after how many events they repeat.
	recordedPeriod = 1000
	// segmentEvents is how many events share a compressor. The seq of a
	// segment's first is a multiple of it, or 2, of the very first.
	segmentEvents = 125
	// maxRecordedSeq is the last seq that has as many digits as the last part.
	maxRecordedSeq = 9_999_999
)

// recordedParts are the seqs with which the parts begin.
var recordedParts = [...]int64{2, 1000, 10_000, 100_000, 1_000_000}

// recordedPart is a part of recordedEvents.
type recordedPart struct {
	first    int64
	payloads [][]byte // without the header of the stream
	sizes    []int    // of their JSON
}

func readRecorded() ([]recordedPart, error) {
	var parts []recordedPart
	b := recordedEvents
	for _, first := range recordedParts {
		p := recordedPart{first: first}
		for i := first; i == first || i%recordedPeriod != 0; i++ {
			if len(b) < 16 || uint64(len(b)-16) < uint64(binary.LittleEndian.Uint32(b)) {
				return nil, fmt.Errorf("sim: recorded events: no seq %d", i)
			}
			n := 16 + int(binary.LittleEndian.Uint32(b))
			p.payloads = append(p.payloads, b[16:n:n])
			p.sizes = append(p.sizes, int(binary.LittleEndian.Uint32(b[4:])))
			b = b[n:]
		}
		parts = append(parts, p)
	}
	payload := &parts[0].payloads[0]
	if !bytes.HasPrefix(*payload, zstdHeader[:]) {
		return nil, fmt.Errorf("sim: recorded events: begin with % x", (*payload)[:min(8, len(*payload))])
	}
	*payload = (*payload)[len(zstdHeader):]
	return parts, nil
}

// message returns the message with a seq of as many digits as p has, and the size of its JSON.
func (p *recordedPart) message(seq int64) (payload []byte, size int) {
	i := seq - p.first
	if p.first < recordedPeriod {
		return p.payloads[i], p.sizes[i]
	}
	i %= recordedPeriod
	payload = p.payloads[i]
	if seq%segmentEvents == 0 {
		payload = slices.Clone(payload)
		digits := strconv.FormatInt(seq, 10)
		copy(payload[rawBlockEnd(payload)-len(digits):], digits)
	}
	return payload, p.sizes[i]
}

// rawBlockEnd returns where the raw block ends that b begins with.
func rawBlockEnd(b []byte) int {
	return 3 + (int(b[0])|int(b[1])<<8|int(b[2])<<16)>>3
}

// recordedEvent is an event without its seq.
type recordedEvent struct {
	T string          `json:"t"`
	D json.RawMessage `json:"d"`
}

// events returns the events of a part that has all of them.
func (p *recordedPart) events() ([]recordedEvent, error) {
	total := 0
	for _, n := range p.sizes {
		total += n
	}
	text, err := inflate(compressZstd, slices.Concat(zstdHeader[:], slices.Concat(p.payloads...)), total)
	if err != nil {
		return nil, fmt.Errorf("sim: recorded events: %w", err)
	}
	events := make([]recordedEvent, len(p.sizes))
	for i, n := range p.sizes {
		if err := json.Unmarshal(text[:n], &events[i]); err != nil {
			return nil, fmt.Errorf("sim: recorded events: %w", err)
		}
		text = text[n:]
	}
	return events, nil
}
