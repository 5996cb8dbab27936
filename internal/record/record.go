// Package record frames the records of files, so that what was written whole can be distinguished
// from what a crash or a bad disk leaves. A record is
//
//	4 bytes   length of the body, big-endian
//	4 bytes   CRC-32C of the body
//	…         the body, of one byte at least
package record

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Head is the size of what comes before the body.
const Head = 8

var (
	// ErrShort is of a record that goes on behind the bytes at hand.
	ErrShort = errors.New("the record is not whole")
	// ErrDamaged is of bytes that are not a record as it was written.
	ErrDamaged = errors.New("the record is damaged")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum returns the checksum of b.
func Sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Begin appends room for the head of a record, whose body is to be appended.
func Begin(dst []byte) []byte { return append(dst, make([]byte, Head)...) }

// End completes the record that begins at start and ends with dst.
func End(dst []byte, start int) []byte {
	body := dst[start+Head:]
	binary.BigEndian.PutUint32(dst[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[start+4:], Sum(body))
	return dst
}

// Next returns the body of the record that b begins with, a slice of b of at most most bytes, and
// the record's size. The size is set with ErrShort, too, once the head is there: so many bytes
// are needed.
func Next(b []byte, most int) (body []byte, size int, err error) {
	if len(b) < Head {
		return nil, 0, ErrShort
	}
	n := binary.BigEndian.Uint32(b)
	if n < 1 || uint64(n) > uint64(most) {
		return nil, 0, ErrDamaged
	}
	size = Head + int(n)
	if len(b) < size {
		return nil, size, ErrShort
	}
	body = b[Head:size]
	if Sum(body) != binary.BigEndian.Uint32(b[4:]) {
		return nil, 0, ErrDamaged
	}
	return body, size, nil
}

// Fields reads the fields of a body: numbers as uvarints, texts with their length before them.
type Fields struct {
	Rest []byte // that is not read yet
	Bad  bool   // a field was broken; those behind it are zero
}

// Number reads a number.
func (f *Fields) Number() uint64 {
	n, size := binary.Uvarint(f.Rest)
	if size <= 0 {
		f.Bad, f.Rest = true, nil
		return 0
	}
	f.Rest = f.Rest[size:]
	return n
}

// Text reads a text, which is a slice of Rest.
func (f *Fields) Text() []byte {
	n := f.Number()
	if n > uint64(len(f.Rest)) {
		f.Bad, f.Rest = true, nil
		return nil
	}
	text := f.Rest[:n:n]
	f.Rest = f.Rest[n:]
	return text
}

// AppendText appends a text as Text reads it.
func AppendText[T ~string | ~[]byte](dst []byte, text T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}
