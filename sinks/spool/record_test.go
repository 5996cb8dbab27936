// This file tests the bounds of records.

package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"sluice/internal/record"
	"sluice/sinks"
)

// The largest numbers, and nothing at all, come back as they were.
func TestRecordBounds(t *testing.T) {
	for _, ev := range []sinks.Event{
		{},
		{Shard: math.MaxInt32, Seq: math.MaxInt64, Began: math.MaxInt64, Gap: true, Session: "a", Type: []byte("b"), Data: []byte("c")},
		{Shard: 1, Session: "without data", Type: []byte("RESUMED")},
		{Session: "without a name"},
	} {
		text := appendRecord(nil, &ev)
		got, size, err := parseRecord(append(text, "behind"...))
		if err != nil || size != len(text) || got.Shard != ev.Shard || got.Seq != ev.Seq || got.Began != ev.Began || got.Gap != ev.Gap ||
			got.Session != ev.Session || !bytes.Equal(got.Type, ev.Type) || !bytes.Equal(got.Data, ev.Data) {
			t.Errorf("%+v comes back as %+v, %d, %v", ev, got, size, err)
		}
		for n := range text {
			want := 0
			if n >= record.Head { // it says how much is needed
				want = len(text)
			}
			if _, size, err := parseRecord(text[:n]); err != record.ErrShort || size != want {
				t.Errorf("%d of %d bytes: %d, %v, want %d", n, len(text), size, err, want)
			}
		}
	}
}

// A spool that an earlier version has left is read: its bytes are what is written today.
func TestRecordFormat(t *testing.T) {
	const want = "sluice spool 1\n\x00\x00\x00\x00\x00\x00\x01\x02" +
		"\x00\x00\x00\x16\tx`\t\x00\x03\xac\x02\asession\aRESUMED{}" +
		"\x00\x00\x00#\x94q\xa8\xca\x03\x03\xad\x02\x80\x80\xce\xde\xd5\xdf\xc7\xf4\x18\asession\vGATEWAY_GAP{}"
	b := appendSegmentHead(nil, 258)
	b = appendRecord(b, &sinks.Event{Shard: 3, Seq: 300, Session: "session", Type: []byte("RESUMED"), Data: []byte("{}")})
	b = appendRecord(b, &sinks.Event{Shard: 3, Seq: 301, Began: 1_795_000_000_000_000_000, Gap: true, Session: "session", Type: []byte("GATEWAY_GAP"), Data: []byte("{}")})
	if string(b) != want {
		t.Errorf("%q", b)
	}
}

// What no process has written is damage, also with the right checksum.
func TestRecordDamage(t *testing.T) {
	body := func(flags byte, numbers ...uint64) []byte {
		b := []byte{flags}
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"no fields":         body(0),
		"a shard alone":     body(0, 1),
		"no lengths":        body(0, 1, 2),
		"no name":           body(0, 1, 2, 0),
		"no time":           body(flagBegan, 1, 2),
		"a flag":            body(4, 1, 2, 0, 0),
		"shard too large":   body(0, math.MaxInt32+1, 2, 0, 0),
		"seq too large":     body(0, 1, math.MaxInt64+1, 0, 0),
		"time too large":    body(flagBegan, 1, 2, math.MaxInt64+1, 0, 0),
		"session too long":  body(0, 1, 2, 2, 0),
		"name too long":     body(0, 1, 2, 0, 1),
		"an endless number": append(body(0), bytes.Repeat([]byte{0xff}, 20)...),
	} {
		text := record.End(append(record.Begin(nil), b...), 0)
		if ev, size, err := parseRecord(text); !errors.Is(err, record.ErrDamaged) || size != 0 {
			t.Errorf("%s: %+v, %d, %v", name, ev, size, err)
		}
	}
	for n, want := range map[uint32]error{0: record.ErrDamaged, 1: record.ErrShort, maxRecord: record.ErrShort, maxRecord + 1: record.ErrDamaged, math.MaxUint32: record.ErrDamaged} {
		head := append(binary.BigEndian.AppendUint32(nil, n), 0, 0, 0, 0)
		if _, _, err := parseRecord(head); err != want {
			t.Errorf("a length of %d: %v, want %v", n, err, want)
		}
	}
	ev := numbered(1)
	text := appendRecord(nil, &ev)
	for i := record.Head - 4; i < len(text); i++ {
		flipped := bytes.Clone(text)
		flipped[i] ^= 1
		if _, _, err := parseRecord(flipped); !errors.Is(err, record.ErrDamaged) {
			t.Errorf("byte %d is another: %v", i, err)
		}
	}
}
