// This file is the hash by which the ledger recognizes an event.

package sim

import (
	"encoding/binary"
	"math/bits"
)

// Hash returns the hash of an event's d that the ledger keeps. It is the same
// in every process, is made for speed, and means nothing to an attacker.
func Hash(d []byte) uint64 {
	const k0, k1 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db
	h := uint64(len(d)) ^ k0
	for len(d) >= 16 {
		hi, lo := bits.Mul64(binary.LittleEndian.Uint64(d)^k1, binary.LittleEndian.Uint64(d[8:])^h)
		h = hi ^ lo
		d = d[16:]
	}
	var tail [16]byte
	copy(tail[:], d)
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(tail[:])^k1, binary.LittleEndian.Uint64(tail[8:])^h)
	hi, lo = bits.Mul64(hi^lo^k0, h^k1)
	return max(hi^lo, 1) // 0 stands for "not known"
}
