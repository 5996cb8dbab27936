// This file tests the recorded events, and makes them.

package sim

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/zstd"
	"sluice/wire"
)

var libzstd = flag.String("libzstd", "", "write testdata/events.stream anew with this program (make recording)")

const recordedFile = "testdata/events.stream"

// recordedBodies makes the recorded events: fifty a second, in the time of the test's
// bubble, in a hundred guilds. In one piece libzstd compresses them to an eighth, which
// is what bots of Discord report, and in segments to a seventh.
func recordedBodies(t *testing.T) (events []recordedEvent) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)))
		rng := rand.New(rand.NewPCG(1, 2))
		var gen generator
		for range recordedPeriod {
			time.Sleep(time.Duration(rng.ExpFloat64() * float64(20*time.Millisecond)))
			k := pickShare(rng.IntN(1000), false)
			e := gen.next(rng, k.typ, rng.IntN(100), false, wire.AllIntents)
			events = append(events, recordedEvent{k.typ, slices.Clone(e.d)})
		}
	})
	return events
}

// recordedMessages are those of the file, in its order.
func recordedMessages(t *testing.T) (seqs []int64, msgs [][]byte) {
	events := recordedBodies(t)
	for _, first := range recordedParts {
		for seq := first; seq == first || seq%recordedPeriod != 0; seq++ {
			e := events[seq%recordedPeriod]
			seqs, msgs = append(seqs, seq), append(msgs, appendDispatch(nil, e.T, seq, e.D))
		}
	}
	return seqs, msgs
}

// seqDigits returns where the digits of a message's seq are that are to be replaced.
func seqDigits(msg []byte, seq int64) (from, to int) {
	from = bytes.Index(msg, []byte(`","s":`)) + 6
	return from, from + max(0, len(strconv.FormatInt(seq, 10))-3)
}

// writeRecorded has the program make the file. The digits that are to be replaced
// are bytes that are nowhere else, so that they are copied from no other place.
func writeRecorded(t *testing.T) {
	seqs, msgs := recordedMessages(t)
	var in bytes.Buffer
	give := func(p []byte) {
		in.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(p))))
		in.Write(p)
	}
	begins := func(i int) bool { return i == 0 || seqs[i]%segmentEvents == 0 }
	for i, msg := range msgs {
		msg = slices.Clone(msg)
		from, to := seqDigits(msg, seqs[i])
		for at := from; at < to; at++ {
			msg[at] = byte(1 + at - from)
		}
		if begins(i) {
			give(nil)
			end := from + len(strconv.FormatInt(seqs[i], 10))
			give(msg[:end])
			msg = msg[end:]
		}
		give(msg)
	}
	cmd := exec.Command(*libzstd, "record")
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(bytes.NewReader(b))
	take := func() []byte {
		var n [4]byte
		if _, err := io.ReadFull(out, n[:]); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, binary.LittleEndian.Uint32(n[:]))
		if _, err := io.ReadFull(out, p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	var file []byte
	for i, msg := range msgs {
		payload := take()
		if begins(i) {
			head := payload[len(zstdHeader):]
			if !bytes.HasPrefix(payload, zstdHeader[:]) || head[0]&7 != 0 || rawBlockEnd(head) != len(head) {
				t.Fatalf("seq %d: begins with % x, which is not a header and a raw block", seqs[i], payload)
			}
			digits := strconv.FormatInt(seqs[i], 10)
			copy(head[len(head)-len(digits):], digits)
			if i > 0 {
				payload = head
			}
			payload = append(payload, take()...)
		}
		sum := sha256.Sum256(msg)
		file = binary.LittleEndian.AppendUint32(file, uint32(len(payload)))
		file = binary.LittleEndian.AppendUint32(file, uint32(len(msg)))
		file = append(append(file, sum[:8]...), payload...)
	}
	if err := os.WriteFile(recordedFile, file, 0o644); err != nil {
		t.Fatal(err)
	}
	recordedEvents = file
}

// decodeBoth decodes a stream of messages of those sizes with klauspost's decoder and
// with the gateway's.
func decodeBoth(t *testing.T, payloads [][]byte, sizes []int) (msgs [][]byte) {
	t.Helper()
	var d zstd.Decoder
	total := 0
	for i, p := range payloads {
		msg, err := d.Decode(nil, p, sizes[i])
		if err != nil || len(msg) != sizes[i] {
			t.Fatalf("message %d: %d bytes instead of %d, %v", i, len(msg), sizes[i], err)
		}
		msgs = append(msgs, msg)
		total += len(msg)
	}
	text, err := inflate(compressZstd, slices.Concat(payloads...), total)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, slices.Concat(msgs...)) {
		t.Fatal("klauspost's decoder has something else")
	}
	return msgs
}

// TestRecordedEvents: the file holds the events of the mix, with the seqs that it is to have.
func TestRecordedEvents(t *testing.T) {
	if *libzstd != "" {
		writeRecorded(t)
	}
	parts, err := readRecorded()
	if err != nil {
		t.Fatal(err)
	}
	payloads, sizes := [][]byte{zstdHeader[:]}, []int{0}
	for _, p := range parts {
		payloads, sizes = append(payloads, p.payloads...), append(sizes, p.sizes...)
	}
	got := decodeBoth(t, payloads, sizes)[1:]
	seqs, want := recordedMessages(t)
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	rest := recordedEvents
	for i, msg := range got {
		if !bytes.Equal(msg, want[i]) {
			t.Fatalf("seq %d is %s, and the generator makes %s; make recording makes the file anew", seqs[i], msg, want[i])
		}
		if !json.Valid(msg) {
			t.Fatalf("seq %d is not JSON: %s", seqs[i], msg)
		}
		sum := sha256.Sum256(msg)
		if !bytes.Equal(rest[8:16], sum[:8]) {
			t.Fatalf("seq %d has another sum", seqs[i])
		}
		rest = rest[16+binary.LittleEndian.Uint32(rest):]
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes behind the last message", len(rest))
	}
}

// TestRecordedSegments: with any seq, after anything, each segment decodes to the same
// events.
func TestRecordedSegments(t *testing.T) {
	parts, err := readRecorded()
	if err != nil {
		t.Fatal(err)
	}
	events := recordedBodies(t)
	check, err := newSegmentChecker(compressZstd)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		begin := p.first
		if begin >= recordedPeriod { // the last ones of as many digits
			begin = 10*begin - recordedPeriod
		}
		for from := begin; from == begin || from%recordedPeriod != 0; {
			to := (from/segmentEvents + 1) * segmentEvents
			var payloads, want [][]byte
			var sizes []int
			for seq := from; seq < to; seq++ {
				payload, size := p.message(seq)
				e := events[seq%recordedPeriod]
				payloads, sizes = append(payloads, payload), append(sizes, size)
				want = append(want, appendDispatch(nil, e.T, seq, e.D))
			}
			for _, before := range check.before {
				stream := slices.Concat([][]byte{zstdHeader[:], before.compressed}, payloads)
				got := decodeBoth(t, stream, slices.Concat([]int{0, before.plain}, sizes))[2:]
				for i := range got {
					if !bytes.Equal(got[i], want[i]) {
						t.Fatalf("seq %d is %s, want %s", from+int64(i), got[i], want[i])
					}
				}
			}
			from = to
		}
	}
}

// TestRecord: a recording has the same events in each compression, up to any seq.
func TestRecord(t *testing.T) {
	events := recordedBodies(t)
	for _, n := range []int{0, 1, 122, 123, 124, 1200, 10_200} {
		for _, compress := range compressions {
			if n > 10_000 && compress == compressZlib {
				continue // it is made and checked segment by segment, which takes long
			}
			rec, err := Record(n, compress)
			if err != nil {
				t.Fatal(err)
			}
			if rec.Len() != n || len(rec.types) != n || len(rec.hashes) != n {
				t.Fatalf("%q: %d events instead of %d", compress, rec.Len(), n)
			}
			seq := int64(2)
			for seg := range rec.first {
				msgs, err := rec.messages(seg)
				if err != nil {
					t.Fatal(err)
				}
				for _, msg := range msgs {
					e := events[seq%recordedPeriod]
					if i := seq - 2; rec.types[i] != e.T || rec.hashes[i] != Hash(e.D) || !bytes.Equal(msg, appendDispatch(nil, e.T, seq, e.D)) {
						t.Fatalf("%q: seq %d is %s %s", compress, seq, rec.types[i], msg)
					}
					seq++
				}
			}
			if seq != int64(n)+2 {
				t.Errorf("%q: messages up to seq %d", compress, seq-1)
			}
		}
	}
	if _, err := Record(maxRecordedSeq, compressZstd); err == nil {
		t.Error("more events than seqs")
	}
}
