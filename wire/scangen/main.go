// Command scangen writes wire/scan_amd64.s: the check of the structure of JSON by blocks of
// 64 bytes, with AVX2. `go generate ./wire` runs it.
//
// A block becomes masks of a bit for each byte, as in the first stage of simdjson ("Parsing
// Gigabytes of JSON per Second", 2019), and the grammar is checked on them as well, since
// without white space it is about neighbours:
//
//   - behind {, and behind a comma in an object, a key begins; behind [, a colon, and a comma
//     in an array, a value; nothing begins anywhere else, but for the close of what is empty
//   - behind a key's closing quote is a colon, and nowhere else
//
// Only which container a comma and a close are in needs a walk, over the brackets. Null, true,
// false and numbers of one digit are looked up when the blocks are through. What it does not
// know it leaves to its caller, or fails: the caller then uses the slower code.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// maxBlocks is how many blocks a call takes, maxOdd how many scalars it leaves to its caller.
const (
	maxBlocks = 16
	maxOdd    = 64
)

// The fields of wire's scan.
const (
	escaped   = 8 * iota              // 1: the next block's first byte is escaped
	inString                          // all ones: it is in a string
	inKey                             // 1: a key goes on, or ended with this block
	needKey                           // 1: a key begins there
	needValue                         // 1: a value does
	opened                            // 1: a container was opened right before
	inScalar                          // 1: a null, boolean or number goes on
	stack                             // below a one, a bit for each container: is it an object
	bad                               // not 0: this is no JSON, or not for this code
	end                               // of the last block, the bytes up to the value's end
	blocks                            // those that have escapes or bytes beyond ASCII
	odds                              // how many scalars are in odd
	escapes                           // by block, the backslashes that begin an escape
	high      = escapes + 8*maxBlocks // by block, the bytes beyond ASCII
	odd       = high + 8*maxBlocks    // where other scalars begin, 16 bits each
)

var a, b reg.VecVirtual // the halves of the block

func splat(name string, c byte) reg.VecVirtual {
	d := GLOBL(name, RODATA|NOPTR)
	DATA(0, U8(c))
	y := YMM()
	VPBROADCASTB(d, y)
	return y
}

// mask makes a mask of what f makes of each half: of the high bits of its bytes.
func mask(f func(half, y reg.VecVirtual)) reg.GPVirtual {
	low, hi := GP64(), GP64()
	y := YMM()
	f(a, y)
	VPMOVMSKB(y, low.As32())
	y = YMM()
	f(b, y)
	VPMOVMSKB(y, hi.As32())
	SHLQ(Imm(32), hi)
	ORQ(hi, low)
	return low
}

func equal(c reg.VecVirtual) reg.GPVirtual {
	return mask(func(half, y reg.VecVirtual) { VPCMPEQB(c, half, y) })
}

func copied(x Op) reg.GPVirtual {
	t := GP64()
	MOVQ(x, t)
	return t
}

func main() {
	TEXT("scanBlocks", 0, "func(s *uint64, p *byte, n int) int")
	Doc("scanBlocks takes n blocks at p, 1 to 16, behind which 8 bytes can be read, on from where s",
		"stands, and returns how many it looked at: fewer if the value ends. s is a scan.")
	Pragma("noescape")
	s := Load(Param("s"), GP64())
	p := Load(Param("p"), GP64())
	field := func(offset int) Mem { return Mem{Base: s, Disp: offset} }
	n, closers, exempt, count := AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	list := AllocLocal(maxBlocks*64 + 8) // of scalars, 16 bits each, at most 32 in a block
	{
		t := Load(Param("n"), GP64())
		MOVQ(t, n)
	}
	MOVQ(U32(0), count)
	MOVQ(U32(0), field(blocks))
	MOVQ(U32(0), field(odds))
	quotes, backslashes, space := splat("quote", '"'), splat("backslash", '\\'), splat("space", ' ')
	opens, closes, commas, colons := splat("open", '{'), splat("close", '}'), splat("comma", ','), splat("colon", ':')
	ones, in, least := XMM(), XMM(), YMM()
	VPCMPEQB(ones, ones, ones)
	VPCMPEQB(least, least, least)
	VMOVQ(field(inString), in)
	at := GP64()
	XORL(at.As32(), at.As32())
	ofBlock := func(offset int) Mem { return Mem{Base: s, Disp: offset, Index: at, Scale: 8} }
	mark := func() { // this block, for the caller
		one := GP64()
		MOVL(U32(1), one.As32())
		SHLXQ(at, one, one)
		ORQ(one, field(blocks))
	}
	next := func(x reg.GPVirtual, carry int) reg.GPVirtual { // the bytes behind those of x
		c, r := copied(field(carry)), GP64()
		LEAQ(Mem{Base: c, Index: x, Scale: 2}, r)
		MOVQ(x, c)
		SHRQ(Imm(63), c)
		MOVQ(c, field(carry))
		return r
	}

	Label("block")
	a, b = YMM(), YMM()
	VMOVDQU(Mem{Base: p}, a)
	VMOVDQU(Mem{Base: p, Disp: 32}, b)
	VPMINUB(a, least, least)
	VPMINUB(b, least, least)

	Comment("Bytes beyond ASCII.")
	{
		y, t := YMM(), GP64()
		VPOR(a, b, y)
		VPMOVMSKB(y, t.As32())
		TESTL(t.As32(), t.As32())
		JZ(LabelRef("ascii"))
		MOVQ(mask(func(half, y reg.VecVirtual) { VMOVDQU(half, y) }), ofBlock(high))
		mark()
		Label("ascii")
	}

	Comment("Quotes, without those that are escaped: simdjson's way.")
	quote := equal(quotes)
	{
		ya, yb, y := YMM(), YMM(), YMM()
		VPCMPEQB(backslashes, a, ya)
		VPCMPEQB(backslashes, b, yb)
		VPOR(ya, yb, y)
		backslash, is := GP64(), copied(field(escaped))
		VPMOVMSKB(y, backslash.As32())
		ORQ(is, backslash)
		JZ(LabelRef("plain"))
		VPMOVMSKB(ya, backslash.As32())
		t := GP64()
		VPMOVMSKB(yb, t.As32())
		SHLQ(Imm(32), t)
		ORQ(t, backslash)
		start, sum, oddBits := GP64(), GP64(), GP64()
		ANDNQ(backslash, is, start)
		LEAQ(Mem{Base: start, Index: start, Scale: 1}, sum)
		MOVQ(Imm(0xaaaaaaaaaaaaaaaa), oddBits)
		ORQ(oddBits, sum)
		SUBQ(start, sum)
		XORQ(oddBits, sum) // what begins an escape, and what ends a row of them
		ORQ(backslash, is)
		XORQ(sum, is)
		ANDNQ(quote, is, quote)
		ANDQ(sum, backslash)
		MOVQ(backslash, ofBlock(escapes))
		SHRQ(Imm(63), backslash)
		MOVQ(backslash, field(escaped))
		mark()
		Label("plain")
	}

	Comment("Strings, from the opening quote to before the closing one.")
	str := GP64()
	{
		x := XMM()
		VMOVQ(quote, x)
		VPCLMULQDQ(Imm(0), ones, x, x)
		VPXOR(in, x, x)
		VMOVQ(x, str)
		VPSRAD(Imm(31), x, in)
		VPSHUFD(Imm(0x55), in, in)
	}

	Comment("Brackets.")
	open, clos := GP64(), GP64()
	{
		ya, yb := YMM(), YMM()
		VPOR(space, a, ya)
		VPOR(space, b, yb)
		for _, c := range []struct {
			bracket reg.VecVirtual
			to      reg.GPVirtual
		}{{opens, open}, {closes, clos}} {
			y, t := YMM(), GP64()
			VPCMPEQB(c.bracket, ya, y)
			VPMOVMSKB(y, c.to.As32())
			y = YMM()
			VPCMPEQB(c.bracket, yb, y)
			VPMOVMSKB(y, t.As32())
			SHLQ(Imm(32), t)
			ORQ(t, c.to)
			ANDNQ(c.to, str, c.to)
		}
	}
	within, stk := GP64(), copied(field(stack)) // within: the bytes whose container is an object
	MOVQ(stk, within)
	ANDQ(Imm(1), within)
	NEGQ(within)
	MOVQ(I32(-1), field(end))
	curly := GP64()
	XORL(curly.As32(), curly.As32())
	MOVQ(curly, closers)
	MOVQ(curly, exempt)
	scalar := copied(open)
	ORQ(clos, scalar)
	JZ(LabelRef("flat"))
	MOVQ(mask(func(half, y reg.VecVirtual) { VPSLLW(Imm(2), half, y) }), curly) // bit 5
	left := GP64()
	{
		t, empty := copied(field(opened)), copied(clos)
		LEAQ(Mem{Base: t, Index: open, Scale: 2}, t)
		ANDQ(clos, t)
		MOVQ(t, exempt)
		SHRQ(Imm(1), empty)
		ANDQ(open, empty)
		t = copied(curly)
		SHRQ(Imm(1), t)
		XORQ(curly, t)
		ANDNQ(empty, t, empty) // what opens an empty container
		LEAQ(Mem{Base: empty, Index: empty, Scale: 1}, t)
		ORQ(empty, t)
		ANDNQ(scalar, t, left)
		ANDQ(left, clos)
		MOVQ(clos, closers)
		TESTQ(left, left)
		JZ(LabelRef("walked"))
	}
	Label("bracket")
	{
		i, new := GP64(), GP64()
		TZCNTQ(left, i)
		SHRXQ(i, curly, new)
		ANDL(Imm(1), new.As32())
		LEAQ(Mem{Base: new, Index: stk, Scale: 2}, new)
		popped := copied(stk)
		SHRQ(Imm(1), popped)
		BTQ(i, open)
		CMOVQCC(popped, new)
		TESTQ(new, new)
		JS(LabelRef("fail")) // too deep
		XORQ(new, stk)
		ANDL(Imm(1), stk.As32())
		NEGQ(stk)
		ADDQ(stk, stk)
		SHLXQ(i, stk, stk)
		XORQ(stk, within) // if they differ in kind, all behind the bracket
		MOVQ(new, stk)
		CMPQ(stk, Imm(1))
		JE(LabelRef("last"))
		BLSRQ(left, left)
		JNZ(LabelRef("bracket"))
		JMP(LabelRef("stacked"))
		Label("last")
		BLSMSKQ(left, left)
		MOVQ(left, field(end))
		Label("stacked")
		MOVQ(stk, field(stack))
	}
	Label("walked")
	{
		t := copied(within)
		XORQ(curly, t)
		ANDQ(t, closers) // now those that close another kind
		ANDQ(open, curly)
	}
	Label("flat")
	{
		t := copied(open)
		SHRQ(Imm(63), t)
		MOVQ(t, field(opened))
	}

	Comment("The grammar.")
	comma, colon := equal(commas), equal(colons)
	ANDNQ(comma, str, comma)
	ANDNQ(colon, str, colon)
	for _, x := range []reg.GPVirtual{quote, str, comma, colon} {
		ORQ(x, scalar)
	}
	NOTQ(scalar)
	beforeValue := GP64()
	ANDNQ(comma, within, beforeValue)
	ORQ(colon, beforeValue)
	{
		t := GP64()
		ANDNQ(open, curly, t)
		ORQ(t, beforeValue)
	}
	ANDQ(comma, within)
	ORQ(curly, within) // before keys
	key, value := next(within, needKey), next(beforeValue, needValue)
	{
		t := copied(exempt)
		ANDNQ(key, t, key)
		ANDNQ(value, t, value)
	}
	begin := copied(quote)
	ANDQ(str, begin)
	wrong := GP64()
	ANDNQ(key, begin, wrong) // no string where a key begins
	ORQ(closers, wrong)
	ANDQ(begin, key)
	ANDNQ(begin, key, begin) // strings that are values
	ORQ(open, begin)
	{
		// A one added where a key begins is carried through it, to where its colon must be.
		full, carry := quote, copied(field(inKey))
		ORQ(str, full)
		ADDQ(I32(-1), carry)
		ADCQ(full, key)
		SBBQ(carry, carry)
		NEGQ(carry)
		MOVQ(carry, field(inKey))
		ANDNQ(key, full, key)
		XORQ(colon, key)
		ORQ(key, wrong)
	}
	starts := next(scalar, inScalar)
	ANDNQ(scalar, starts, starts)
	ORQ(starts, begin)
	XORQ(value, begin) // no value where one begins, or one elsewhere
	ORQ(begin, wrong)
	{
		t := copied(field(end))
		ANDQ(t, wrong)
		ORQ(wrong, field(bad))
		ANDQ(t, starts)
	}

	Comment("The scalars are listed: two always, which spares a branch that is hard to predict.")
	{
		c, to, offset, few := copied(count), GP64(), copied(at), GP64()
		LEAQ(list, to)
		LEAQ(Mem{Base: to, Index: c, Scale: 2}, to)
		POPCNTQ(starts, few)
		ADDQ(few, c)
		MOVQ(c, count)
		SHLQ(Imm(6), offset)
		add := func(d int) {
			i := GP64()
			TZCNTQ(starts, i)
			ADDL(offset.As32(), i.As32())
			MOVW(i.As16(), Mem{Base: to, Disp: d})
			BLSRQ(starts, starts)
		}
		add(0)
		add(2)
		TESTQ(starts, starts)
		JZ(LabelRef("listed"))
		Label("more")
		add(4)
		LEAQ(Mem{Base: to, Disp: 2}, to)
		JNZ(LabelRef("more")) // of BLSR
		Label("listed")
	}
	INCQ(at)
	ADDQ(Imm(64), p)
	CMPQ(field(stack), Imm(1))
	JE(LabelRef("through"))
	CMPQ(at, n)
	JB(LabelRef("block"))
	Label("through")
	VMOVQ(in, field(inString))
	{
		t := GP64()
		VPMINUB(least, space, least)
		VPCMPEQB(least, space, least)
		VPMOVMSKB(least, t.As32())
		XORL(I32(-1), t.As32()) // control characters
		ORQ(t, field(bad))
	}

	Comment("The scalars, by a table.")
	{
		table := GLOBL("scalars", RODATA|NOPTR) // by bits 3 to 6 of the first byte: text, its mask, its length
		for i := range 16 {
			text, mask, length := uint64(1), uint64(0), uint64(1) // never equal
			switch i {
			case 'f' >> 3 & 15:
				text, mask, length = 0x65736c6166, 0xffffffffff, 5
			case 'n' >> 3 & 15:
				text, mask, length = 0x6c6c756e, 0xffffffff, 4
			case 't' >> 3 & 15:
				text, mask, length = 0x65757274, 0xffffffff, 4
			case '0' >> 3 & 15:
				text, mask = '0', 0xf8
			case '8' >> 3 & 15:
				text, mask = '8', 0xfe
			}
			for j, v := range []uint64{text, mask, length, 0} {
				DATA(32*i+8*j, U64(v))
			}
		}
		behind := GLOBL("behind", RODATA|NOPTR) // 0: may follow a scalar
		for i := range 256 {
			v := byte(1)
			if i == ',' || i == ']' || i == '}' {
				v = 0
			}
			DATA(i, U8(v))
		}
		c, to, tab, beh := copied(count), GP64(), GP64(), GP64()
		p := Load(Param("p"), GP64())
		TESTQ(c, c)
		JZ(LabelRef("done"))
		LEAQ(list, to)
		LEAQ(Mem{Base: to, Index: c, Scale: 2}, to)
		LEAQ(table, tab)
		LEAQ(behind, beh)
		NEGQ(c)
		Label("scalar")
		i, text, entry, after := GP64(), GP64(), GP64(), GP64()
		MOVWQZX(Mem{Base: to, Index: c, Scale: 2}, i)
		ADDQ(p, i)
		MOVQ(Mem{Base: i}, text)
		MOVL(text.As32(), entry.As32())
		ANDL(Imm(0x78), entry.As32())
		LEAQ(Mem{Base: tab, Index: entry, Scale: 4}, entry)
		MOVQ(Mem{Base: entry, Disp: 16}, after)
		MOVBQZX(Mem{Base: i, Index: after, Scale: 1}, after)
		MOVBQZX(Mem{Base: beh, Index: after, Scale: 1}, after)
		ANDQ(Mem{Base: entry, Disp: 8}, text)
		XORQ(Mem{Base: entry}, text)
		ORQ(after, text)
		JNZ(LabelRef("odd"))
		Label("checked")
		INCQ(c)
		JNZ(LabelRef("scalar"))
		JMP(LabelRef("done"))
		Label("odd")
		MOVQ(field(odds), entry)
		CMPQ(entry, Imm(maxOdd))
		JAE(LabelRef("fail"))
		SUBQ(p, i)
		MOVW(i.As16(), Mem{Base: s, Disp: odd, Index: entry, Scale: 2})
		INCQ(field(odds))
		JMP(LabelRef("checked"))
	}
	Label("fail")
	MOVQ(U32(1), field(bad))
	Label("done")
	VZEROUPPER()
	Store(at, ReturnIndex(0))
	RET()
	Generate()
}
