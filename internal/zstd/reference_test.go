// This file reads the streams that the reference implementation made
// (testdata/make.py), and holds the decoder against them.

package zstd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

var referenceStreams = []string{"level-5", "level1", "level6", "level19", "events"}

// recorded returns a recorded stream, and its messages as klauspost's decoder
// has them, which are those that were recorded.
func recorded(tb testing.TB, name string) (stream, messages [][]byte) {
	tb.Helper()
	return readStream(tb, filepath.Join("testdata", name+".stream"))
}

func readStream(tb testing.TB, name string) (stream, messages [][]byte) {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	p := newPeer(tb)
	defer p.dec.Close()
	for len(b) > 0 {
		n, plain, sum := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), b[8:16]
		msg := b[16:][:n]
		b = b[16+n:]
		out, err := p.decode(nil, msg)
		if err != nil {
			tb.Fatal(err)
		}
		if got := sha256.Sum256(out); len(out) != int(plain) || !bytes.Equal(got[:8], sum) {
			tb.Fatalf("%s, message %d: not what was recorded", name, len(stream))
		}
		stream, messages = append(stream, msg), append(messages, out)
	}
	return stream, messages
}

func TestReferenceStreams(t *testing.T) {
	for _, name := range referenceStreams {
		t.Run(name, func(t *testing.T) {
			stream, messages := recorded(t, name)
			if len(messages) < 60 {
				t.Fatalf("%d messages", len(messages))
			}
			check(t, stream, messages)
		})
	}
}
