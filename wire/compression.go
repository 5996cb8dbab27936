// This file names the transport compressions and makes their inflaters.

package wire

import (
	"errors"
	"fmt"
)

// Compression is how Discord compresses what it sends. Nothing that a client
// sends is ever compressed.
type Compression uint8

const (
	CompressionNone    Compression = iota // every message is plain text
	CompressionZstd                       // zstd-stream: one zstd frame for the connection
	CompressionZlib                       // zlib-stream: one zlib stream for the connection
	CompressionPayload                    // zlib-payload: binary messages are each a zlib stream
)

var compressionNames = [...]string{"none", "zstd-stream", "zlib-stream", "zlib-payload"}

// ParseCompression returns the compression of a name as String gives it.
func ParseCompression(name string) (Compression, bool) {
	for i, n := range compressionNames {
		if n == name {
			return Compression(i), true
		}
	}
	return 0, false
}

// String returns the compression's name; those of the streams are Discord's.
func (c Compression) String() string {
	if int(c) < len(compressionNames) {
		return compressionNames[c]
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// ErrTooBig is wrapped by the errors for a message above the bound.
var ErrTooBig = errors.New("message too big")

// Inflater inflates the messages of one connection, in order. It is for one
// goroutine at a time, and after an error for none.
type Inflater interface {
	// Inflate appends the inflated msg to dst and returns the extended slice.
	// complete is false, and nothing appended, when the message goes on in the next
	// WebSocket message. msg is not kept; dst may have grown. The errors of what is
	// not compressed as it was asked for name the setting compression.
	Inflate(dst, msg []byte) (out []byte, complete bool, err error)
	// Limit sets the bound of the messages to come, in bytes.
	Limit(n int)
	// Pending returns the bytes that have arrived of a message that is not complete.
	Pending() int
	// Release says that what Inflate has returned is not used any more: others may
	// have their turn, and the buffer if it is above 512 KiB.
	Release()
	// Forget says that somebody else owns what Inflate has returned last.
	Forget()
	// Close releases the inflater. It may be called more than once.
	Close()
}

// Bounds bound what the inflaters of all connections hold together. What is nil has no bound.
type Bounds struct {
	Turns    *Turns  // to inflate large messages
	Arriving *Budget // of messages that are not whole
	Windows  *Budget // of what was decoded before and is still referred to, above Discord's 256 KiB
}

// NewInflater returns an inflater for a new connection with the compression,
// which must not be CompressionNone. limit bounds a message's inflated size in
// bytes; 0 is DefaultMaxMessage. The bounds are those of all connections.
func NewInflater(c Compression, limit int, b Bounds) (Inflater, error) {
	if limit == 0 {
		limit = DefaultMaxMessage
	}
	switch c {
	case CompressionZstd:
		return newZstdInflater(limit, b), nil
	case CompressionZlib:
		return newZlibInflater(limit, b), nil
	case CompressionPayload:
		return &payloadInflater{out: output{limit: limit, turns: b.Turns}}, nil
	}
	return nil, fmt.Errorf("wire: no inflater for compression %q", c)
}
