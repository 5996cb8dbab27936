// This file tests the framing of records, and that it is the one of the files that are there.

package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// A record is on the disk as it ever was.
func TestFormat(t *testing.T) {
	got := End(append(Begin([]byte("before")), "123456789"...), len("before"))
	if want := "before\x00\x00\x00\x09\xe3\x06\x92\x83123456789"; string(got) != want { // the check value of CRC-32C
		t.Errorf("%s, want %s", hex.EncodeToString(got), hex.EncodeToString([]byte(want)))
	}
}

// A record that is cut off anywhere says how much is needed, and one with another byte is damaged.
func TestNext(t *testing.T) {
	whole := End(append(Begin(nil), "body"...), 0)
	if body, size, err := Next(append(bytes.Clone(whole), "behind"...), 4); string(body) != "body" || size != len(whole) || err != nil {
		t.Errorf("%q, %d, %v", body, size, err)
	}
	for n := range whole {
		want := 0
		if n >= Head {
			want = len(whole)
		}
		if _, size, err := Next(whole[:n], 4); err != ErrShort || size != want {
			t.Errorf("%d of %d bytes: %d, %v, want %d", n, len(whole), size, err, want)
		}
	}
	for i := Head - 4; i < len(whole); i++ {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		if _, size, err := Next(flipped, 4); err != ErrDamaged || size != 0 {
			t.Errorf("byte %d is another: %d, %v", i, size, err)
		}
	}
	for n, want := range map[uint32]error{0: ErrDamaged, 1: ErrShort, 100: ErrShort, 101: ErrDamaged, math.MaxUint32: ErrDamaged} {
		head := append(binary.BigEndian.AppendUint32(nil, n), 0, 0, 0, 0)
		if _, _, err := Next(head, 100); err != want {
			t.Errorf("a length of %d: %v, want %v", n, err, want)
		}
	}
}

// After a field that is broken nothing is read.
func TestFields(t *testing.T) {
	b := binary.AppendUvarint(AppendText(binary.AppendUvarint(nil, 7), "text"), math.MaxUint64)
	f := Fields{Rest: b}
	if n, text, last := f.Number(), f.Text(), f.Number(); n != 7 || string(text) != "text" || last != math.MaxUint64 || f.Bad || len(f.Rest) > 0 {
		t.Errorf("%d, %q, %d, %+v", n, text, last, f)
	}
	for cut := range len(b) {
		f := Fields{Rest: b[:cut]}
		f.Number()
		f.Text()
		if f.Number(); !f.Bad || f.Rest != nil {
			t.Errorf("%d of %d bytes: %+v", cut, len(b), f)
		}
	}
	if f := (Fields{Rest: bytes.Repeat([]byte{0xff}, 20)}); f.Number() != 0 || !f.Bad {
		t.Errorf("an endless number: %+v", f)
	}
}
