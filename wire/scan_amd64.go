// This file checks JSON without white space by blocks of 64 bytes, whose structure
// scan_amd64.s checks.

package wire

import (
	"math/bits"
	"unicode/utf8"

	"golang.org/x/sys/cpu"
)

//go:generate go -C scangen run . -out ../scan_amd64.s -stubs ../scanstub_amd64.go -pkg wire

// scans is whether the processor has what scan_amd64.s needs.
var scans = cpu.X86.HasAVX2 && cpu.X86.HasBMI1 && cpu.X86.HasBMI2 && cpu.X86.HasPCLMULQDQ && cpu.X86.HasPOPCNT

const (
	scanBlock = 64
	scanMost  = 16            // blocks of a call
	scanPast  = 8             // bytes behind them that are read too
	scanLeast = 2 * scanBlock // what is shorter is sooner looked at byte by byte
)

// scan is where scanBlocks stands, and what it leaves to its caller. scangen has the layout,
// and says what each field is. Those without a name are the assembly's alone.
type scan struct {
	escaped                       uint64
	_                             [3]uint64 // inString, inKey, needKey
	needValue                     uint64
	_                             [2]uint64 // opened, inScalar
	stack, bad, end, blocks, odds uint64
	escapes, high                 [scanMost]uint64
	odd                           [64]uint16
}

var spaces = [2*scanBlock + scanPast]byte([]byte("" +
	"                                                                    " +
	"                                                                    "))

// scanLen is plainDepthLen for most objects and arrays, several times as fast. It returns 0
// also for what it does not know: other values, white space between tokens, more than
// some 60 levels, and what is short.
func scanLen(b []byte) int {
	if !scans || len(b) < scanLeast || b[0] != '{' && b[0] != '[' || b[1] == b[0]+2 {
		return 0
	}
	s := scan{needValue: 1, stack: 1}
	seen := 0 // before it, what is not ASCII is UTF-8
	for base := 0; base < len(b); {
		n := min((len(b)-base-scanPast)/scanBlock, scanMost)
		if n > 0 {
			n = scanBlocks(&s.escaped, &b[base], n)
		} else {
			tail := spaces
			copy(tail[:], b[base:])
			n = scanBlocks(&s.escaped, &tail[0], 2)
		}
		if s.bad != 0 {
			return 0
		}
		for _, at := range s.odd[:s.odds] {
			i := base + int(at)
			if i >= len(b) {
				return 0
			}
			if i = validNumber(b, i); i == 0 || i == len(b) || b[i] != ',' && b[i] != ']' && b[i] != '}' {
				return 0
			}
		}
		for ; s.blocks != 0; s.blocks &= s.blocks - 1 {
			k := bits.TrailingZeros64(s.blocks) % scanMost
			at := base + k*scanBlock
			for m := s.escapes[k]; m != 0; m &= m - 1 {
				if validEscape(b, at+bits.TrailingZeros64(m)) == 0 {
					return 0
				}
			}
			if m := s.high[k]; m != 0 {
				from, to := max(seen, at+bits.TrailingZeros64(m)), at+bits.Len64(m)
				for to < len(b) && b[to] >= 0x80 {
					to++
				}
				if from < to && !utf8.Valid(b[from:to]) {
					return 0
				}
				seen = to
			}
			s.escapes[k], s.high[k] = 0, 0
		}
		if s.stack == 1 {
			return base + n*scanBlock - bits.LeadingZeros64(s.end)
		}
		base += n * scanBlock
	}
	return 0
}
