// This file decodes the literals of a block (RFC 8878, 3.1.1.3.1).

package zstd

// literals returns the block's literals and what follows them. They lie in b or
// in s.
func (d *Decoder) literals(b []byte, s *scratch) (literals, rest []byte, err error) {
	const short = "literals that are cut off"
	if len(b) == 0 {
		return nil, nil, corrupt(short)
	}
	kind, format := b[0]&3, b[0]>>2&3
	if kind < 2 { // raw, or one byte again and again
		header := [4]int{1, 2, 1, 3}[format]
		if len(b) < header {
			return nil, nil, corrupt(short)
		}
		size := int(b[0]) >> 3
		switch header {
		case 2:
			size = int(b[0])>>4 | int(b[1])<<4
		case 3:
			size = int(b[0])>>4 | int(b[1])<<4 | int(b[2])<<12
		}
		b = b[header:]
		if kind == 0 {
			if len(b) < size {
				return nil, nil, corrupt(short)
			}
			return b[:size], b[size:], nil
		}
		if len(b) == 0 {
			return nil, nil, corrupt(short)
		}
		if size > maxBlock {
			return nil, nil, corrupt("more literals than a block has")
		}
		literals = s.literals[:size]
		for i := range literals {
			literals[i] = b[0]
		}
		return literals, b[1:], nil
	}

	header := [4]int{3, 3, 4, 5}[format]
	if len(b) < header {
		return nil, nil, corrupt(short)
	}
	var sizes uint64
	for i, c := range b[:header] {
		sizes |= uint64(c) << (8 * i)
	}
	bits := [4]int{10, 10, 14, 18}[format]
	size := int(sizes >> 4 & (1<<bits - 1))
	stored := int(sizes >> (4 + bits) & (1<<bits - 1))
	b = b[header:]
	if len(b) < stored {
		return nil, nil, corrupt(short)
	}
	if size > maxBlock {
		return nil, nil, corrupt("more literals than a block has")
	}
	in, rest := b[:stored], b[stored:]
	if kind == 2 {
		if in, err = d.huffman.read(in); err != nil {
			return nil, nil, err
		}
	} else if d.huffman.log == 0 {
		return nil, nil, corrupt("a Huffman table that was never sent")
	}
	literals = s.literals[:size]
	if format == 0 && !d.huffman.decode(literals, in) || format > 0 && !d.huffman.decode4(literals, in) {
		return nil, nil, corrupt("literals")
	}
	return literals, rest, nil
}
