// This file fits text into the columns of a terminal.

package cli

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// columnsOf returns how many columns a printable character takes. Where terminals differ, as with
// sequences that make one emoji of several, it is the most.
func columnsOf(r rune) int {
	switch {
	case r < utf8.RuneSelf:
		return 1
	case r == zeroWidthJoiner:
		return 0
	case r == emojiSelector:
		return 1 // it may make a narrow character wide
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

const (
	zeroWidthJoiner = '\u200d'
	emojiSelector   = '\ufe0f'
)

// appendCut appends the text as it fits into one row of so many columns; "…" at its end stands for
// what does not. Nothing of the text reaches the terminal but what is printed: control characters,
// those of C1 and of writing direction among them, are written as escapes.
func appendCut(dst, text []byte, columns int) []byte {
	if columns < 1 {
		return dst
	}
	fits, used := len(dst), 0 // as far as the ellipsis has room
	most := 4 * columns       // characters, for those that take no column
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		n := 0
		if r == zeroWidthJoiner || unicode.IsPrint(r) {
			n = columnsOf(r)
			dst = utf8.AppendRune(dst, r)
		} else {
			start := len(dst)
			dst = appendEscape(dst, r)
			n = len(dst) - start
		}
		used, most = used+n, most-1
		if used > columns || most < 0 {
			return append(dst[:fits], "…"...)
		}
		if used < columns {
			fits = len(dst)
		}
	}
	return dst
}

// appendEscape appends what stands for a character that is not printed.
func appendEscape(dst []byte, r rune) []byte {
	if r > 0xffff {
		return fmt.Appendf(dst, `\U%08x`, r)
	}
	return fmt.Appendf(dst, `\u%04x`, r)
}

// printableLine returns the line with escapes for what is not printed, whole.
func printableLine(line string) string {
	var b []byte
	for _, r := range line {
		if r == zeroWidthJoiner || unicode.IsPrint(r) {
			b = utf8.AppendRune(b, r)
		} else {
			b = appendEscape(b, r)
		}
	}
	return string(b)
}

// wrap breaks printable text into rows of so many columns, at spaces where there are any.
func wrap(text string, columns int) (rows []string) {
	for {
		n := fitting(text, columns)
		if n == len(text) {
			return append(rows, text)
		}
		if i := strings.LastIndexByte(text[:n+1], ' '); i > 0 && strings.Trim(text[:i], " ") != "" {
			rows = append(rows, strings.TrimRight(text[:i], " "))
			if text = strings.TrimLeft(text[i:], " "); text == "" {
				return rows
			}
		} else {
			rows = append(rows, text[:n])
			text = text[n:]
		}
	}
}

// fitting returns how many bytes of the text fit into the columns, one character at least.
func fitting(text string, columns int) int {
	used := 0
	for i, r := range text {
		if used += columnsOf(r); used > columns && i > 0 {
			return i
		}
	}
	return len(text)
}
