// This file makes recordings: events compressed beforehand, so that serving
// them costs less than receiving them.

package sim

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zstd"
)

// Recording is a fixed run of events, compressed and framed. It is never
// changed, and any number of sessions of any number of servers may play it.
//
// It consists of segments that were each begun with a fresh compressor, so that
// no reference goes back beyond the segment: other messages can be put between
// two of them, as stored blocks. Inside a segment nothing can: the rest of it
// is then sent as stored blocks as well.
type Recording struct {
	compress string
	frames   []byte // of all events, one after the other
	ends     []int  // of the frame of each event
	sizes    []int  // of each event's JSON
	first    []int  // event of each segment
	types    []string
	hashes   []uint64
}

// Record makes a recording of n events of the usual mix, for connections with
// that compress parameter ("", "zlib-stream" or "zstd-stream"). They have seq 2,
// the first after READY, to n+1. The same events repeat after 1,000 of them,
// and are the same whatever the compression. What zstd-stream has was compressed
// by libzstd, as Discord's is.
func Record(n int, compress string) (*Recording, error) {
	if n+1 > maxRecordedSeq {
		return nil, fmt.Errorf("sim: record: %d events, and %d are the most", n, maxRecordedSeq-1)
	}
	parts, err := readRecorded()
	if err != nil {
		return nil, err
	}
	events, err := parts[1].events()
	if err != nil {
		return nil, err
	}
	hashes := make([]uint64, len(events))
	for i, e := range events {
		hashes[i] = Hash(e.D)
	}
	var check *segmentChecker // of what libzstd made the tests have checked it
	if compress != compressZstd {
		if check, err = newSegmentChecker(compress); err != nil {
			return nil, err
		}
	}
	r := &Recording{compress: compress}
	end := int64(n) + 2
	for from := int64(2); from < end; {
		to := min((from/segmentEvents+1)*segmentEvents, end)
		for len(parts) > 1 && from >= parts[1].first {
			parts = parts[1:]
		}
		var payloads, msgs [][]byte
		var sizes []int
		for seq := from; seq < to; seq++ {
			e := &events[seq%recordedPeriod]
			r.types = append(r.types, e.T)
			r.hashes = append(r.hashes, hashes[seq%recordedPeriod])
			if compress == compressZstd {
				payload, size := parts[0].message(seq)
				payloads, sizes = append(payloads, payload), append(sizes, size)
			} else {
				msgs = append(msgs, appendDispatch(nil, e.T, seq, e.D))
			}
		}
		if compress == compressZstd {
			r.append(payloads, sizes)
		} else if err := r.add(msgs, check); err != nil {
			return nil, err
		}
		from = to
	}
	return r, nil
}

// Len returns the number of events.
func (r *Recording) Len() int { return len(r.ends) }

// Bytes returns the size of its JSON and the size on the wire.
func (r *Recording) Bytes() (plain, wire int) {
	for _, n := range r.sizes {
		plain += n
	}
	return plain, len(r.frames)
}

// add appends a segment. A fresh zstd encoder assumes the frame's initial
// repeat offsets, which are others after a compressed block, so that a segment
// that makes use of them can't follow another. Such a start is stored.
func (r *Recording) add(msgs [][]byte, check *segmentChecker) error {
	for len(msgs) > 0 {
		payloads, err := compressSegment(r.compress, msgs)
		if err != nil {
			return err
		}
		ok, err := check.independent(payloads, msgs)
		if err != nil {
			return err
		}
		if ok {
			r.append(payloads, lengths(msgs))
			return nil
		}
		r.append([][]byte{storeOne(r.compress, msgs[0])}, lengths(msgs[:1]))
		msgs = msgs[1:]
	}
	return nil
}

func lengths(msgs [][]byte) []int {
	out := make([]int, len(msgs))
	for i, m := range msgs {
		out[i] = len(m)
	}
	return out
}

// append appends a segment of payloads, with the sizes of their JSON.
func (r *Recording) append(payloads [][]byte, sizes []int) {
	op := ws.OpBinary
	if r.compress == compressNone {
		op = ws.OpText
	}
	r.first = append(r.first, len(r.ends))
	for i, p := range payloads {
		r.frames = appendFrame(r.frames, op, true, p)
		r.ends = append(r.ends, len(r.frames))
		r.sizes = append(r.sizes, sizes[i])
	}
}

// streamHeader is what a stream begins with.
func streamHeader(compress string) []byte {
	switch compress {
	case compressZlib:
		return []byte{0x78, 0x9C}
	case compressZstd:
		return zstdHeader[:]
	}
	return nil
}

// compressSegment compresses messages with a fresh context, without the header
// of the stream.
func compressSegment(compress string, msgs [][]byte) ([][]byte, error) {
	if compress == compressNone {
		return msgs, nil
	}
	enc := newEncoder(compress)
	defer enc.release()
	out := make([][]byte, len(msgs))
	for i, m := range msgs {
		p, err := enc.encode(m)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			header := streamHeader(compress)
			if !bytes.HasPrefix(p, header) {
				return nil, fmt.Errorf("sim: record: stream begins with %x, not %x", p[:min(8, len(p))], header)
			}
			p = p[len(header):]
		}
		out[i] = slices.Clone(p)
	}
	return out, nil
}

// storeOne gives a message as stored blocks.
func storeOne(compress string, msg []byte) []byte {
	switch compress {
	case compressZlib:
		return appendStoredBlocks(nil, msg)
	case compressZstd:
		return appendRawBlocks(nil, msg)
	}
	return msg
}

// segmentChecker finds out by decoding whether a segment depends on what came
// before it in the stream.
type segmentChecker struct {
	compress string
	before   []poison
}

// poison is a piece of a stream that leaves the decoder in an unlikely state.
type poison struct {
	compressed []byte
	plain      int
}

func newSegmentChecker(compress string) (*segmentChecker, error) {
	c := &segmentChecker{compress: compress}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{3001, 7919} {
		// Random text, then copies of parts of it at odd distances: matches
		// with offsets that no segment has by chance.
		text := make([]byte, n)
		for i := range text {
			text[i] = byte('a' + rng.IntN(26))
		}
		for i := range 6 {
			from := n/7 + i*257
			text = append(text, text[from:from+40]...)
			text = append(text, byte('0'+i), byte('A'+rng.IntN(26)))
		}
		msgs := [][]byte{text, []byte(`{"stored":"between"}`)}
		p, err := compressSegment(compress, msgs[:1])
		if err != nil {
			return nil, err
		}
		c.before = append(c.before, poison{slices.Concat(p[0], storeOne(compress, msgs[1])), len(text) + len(msgs[1])})
	}
	return c, nil
}

// independent reports whether payloads decode to msgs after each of the poisons.
func (c *segmentChecker) independent(payloads, msgs [][]byte) (bool, error) {
	if c.compress == compressNone {
		return true, nil
	}
	want := slices.Concat(msgs...)
	for _, before := range c.before {
		stream := slices.Concat(streamHeader(c.compress), before.compressed, slices.Concat(payloads...))
		got, err := inflate(c.compress, stream, before.plain+len(want))
		if err != nil {
			return false, fmt.Errorf("sim: record: %w", err)
		}
		if !bytes.Equal(got[before.plain:], want) {
			return false, nil
		}
	}
	return true, nil
}

// inflate decodes the first n bytes of a stream that does not end.
func inflate(compress string, stream []byte, n int) ([]byte, error) {
	var src io.Reader
	switch compress {
	case compressZlib:
		zr, err := zlib.NewReader(bytes.NewReader(stream))
		if err != nil {
			return nil, err
		}
		src = zr
	case compressZstd:
		zr, err := zstd.NewReader(bytes.NewReader(stream), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer zr.Close()
		src = zr
	}
	out := make([]byte, n)
	_, err := io.ReadFull(src, out)
	return out, err
}

// segment returns the segment of event i.
func (r *Recording) segment(i int) int {
	seg, found := slices.BinarySearch(r.first, i)
	if !found {
		seg--
	}
	return seg
}

// bounds returns the first event of a segment and the one after its last.
func (r *Recording) bounds(seg int) (from, to int) {
	if seg+1 < len(r.first) {
		return r.first[seg], r.first[seg+1]
	}
	return r.first[seg], len(r.ends)
}

// slice returns the frames of events from to to.
func (r *Recording) slice(from, to int) []byte {
	begin := 0
	if from > 0 {
		begin = r.ends[from-1]
	}
	return r.frames[begin:r.ends[to-1]]
}

// messages returns the messages of a segment, decoded.
func (r *Recording) messages(seg int) ([][]byte, error) {
	from, to := r.bounds(seg)
	frames := r.slice(from, to)
	stream := slices.Clone(streamHeader(r.compress))
	src := bytes.NewReader(frames)
	total := 0
	for i := from; i < to; i++ {
		h, err := ws.ReadHeader(src)
		if err != nil {
			return nil, fmt.Errorf("sim: recording: %w", err)
		}
		stream = append(stream, make([]byte, h.Length)...)
		if _, err := io.ReadFull(src, stream[len(stream)-int(h.Length):]); err != nil {
			return nil, fmt.Errorf("sim: recording: %w", err)
		}
		total += r.sizes[i]
	}
	if r.compress != compressNone {
		var err error
		if stream, err = inflate(r.compress, stream, total); err != nil {
			return nil, fmt.Errorf("sim: recording: %w", err)
		}
	}
	out := make([][]byte, 0, to-from)
	for i := from; i < to; i++ {
		out = append(out, stream[:r.sizes[i]:r.sizes[i]])
		stream = stream[r.sizes[i]:]
	}
	return out, nil
}

// Messages returns its messages, without compression.
func (r *Recording) Messages() (all [][]byte, _ error) {
	for seg := range r.first {
		msgs, err := r.messages(seg)
		if err != nil {
			return nil, err
		}
		all = append(all, msgs...)
	}
	return all, nil
}

// EventNames returns the types of the events in the usual mix, undocumented ones
// included, in guild streams and at the beginning of a session.
func EventNames() []string {
	names := []string{"READY", "RESUMED", "GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"}
	for _, m := range slices.Concat(mix, undocumented) {
		names = append(names, m.typ)
	}
	return names
}
