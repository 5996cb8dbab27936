// This file tests the bounds of records.

package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"sluice/sinks"
	"testing"
)

// The largest numbers, and nothing at all, come back as they were.
func TestRecordBounds(t *testing.T) {
	for _, ev := range []sinks.Event{
		{},
		{Shard: math.MaxInt32, Seq: math.MaxInt64, Began: math.MaxInt64, Gap: true, Session: "a", Type: []byte("b"), Data: []byte("c")},
		{Shard: 1, Session: "without data", Type: []byte("RESUMED")},
		{Session: "without a name"},
	} {
		record := appendRecord(nil, &ev)
		got, size, err := parseRecord(append(record, "behind"...))
		if err != nil || size != len(record) || got.Shard != ev.Shard || got.Seq != ev.Seq || got.Began != ev.Began || got.Gap != ev.Gap ||
			got.Session != ev.Session || !bytes.Equal(got.Type, ev.Type) || !bytes.Equal(got.Data, ev.Data) {
			t.Errorf("%+v comes back as %+v, %d, %v", ev, got, size, err)
		}
		for n := range record {
			want := 0
			if n >= recordHead { // it says how much is needed
				want = len(record)
			}
			if _, size, err := parseRecord(record[:n]); err != errShort || size != want {
				t.Errorf("%d of %d bytes: %d, %v, want %d", n, len(record), size, err, want)
			}
		}
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
		record := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
		record = append(binary.BigEndian.AppendUint32(record, crc32.Checksum(b, castagnoli)), b...)
		if ev, size, err := parseRecord(record); !errors.Is(err, errDamaged) || size != 0 {
			t.Errorf("%s: %+v, %d, %v", name, ev, size, err)
		}
	}
	for n, want := range map[uint32]error{0: errDamaged, 1: errShort, maxRecord: errShort, maxRecord + 1: errDamaged, math.MaxUint32: errDamaged} {
		head := append(binary.BigEndian.AppendUint32(nil, n), 0, 0, 0, 0)
		if _, _, err := parseRecord(head); err != want {
			t.Errorf("a length of %d: %v, want %v", n, err, want)
		}
	}
	ev := numbered(1)
	record := appendRecord(nil, &ev)
	for i := recordHead - 4; i < len(record); i++ {
		flipped := bytes.Clone(record)
		flipped[i] ^= 1
		if _, _, err := parseRecord(flipped); !errors.Is(err, errDamaged) {
			t.Errorf("byte %d is another: %v", i, err)
		}
	}
}
