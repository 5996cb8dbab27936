// This file finds what somebody meant who wrote something else.

package config

import (
	"slices"
	"strings"
)

// Nearest returns the candidate that is nearest to the name, or "" if none is
// near. Case, dots, dashes and underscores do not count.
func Nearest(name string, candidates []string) string {
	folded := fold(name)
	best, bestDistance := "", 2+len(folded)/5
	for _, c := range candidates {
		d := distance(folded, fold(c), bestDistance)
		if d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best
	}
	// A word too many or too few, or another end.
	words := split(name)
	for _, c := range candidates {
		cw := split(c)
		few, many := cw, words
		if len(few) > len(many) {
			few, many = many, few
		}
		if len(few) >= 2 && len(many) == len(few)+1 && subsequence(few, many) {
			return c
		}
		short, long := fold(c), folded
		if len(short) > len(long) {
			short, long = long, short
		}
		if len(short) >= 4 && len(long)-len(short) <= 4 && strings.HasPrefix(long, short) {
			return c
		}
	}
	return ""
}

// didYouMean returns "; did you mean X?" for the nearest candidate, or "".
func didYouMean(name string, candidates []string) string {
	if n := Nearest(name, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

func isSeparator(c rune) bool { return c == '_' || c == '.' || c == '-' || c == ' ' }

func fold(s string) string {
	return strings.Map(func(c rune) rune {
		if isSeparator(c) {
			return -1
		}
		return c
	}, strings.ToUpper(s))
}

func split(s string) []string { return strings.FieldsFunc(strings.ToUpper(s), isSeparator) }

func subsequence(few, many []string) bool {
	for _, word := range few {
		i := slices.Index(many, word)
		if i < 0 {
			return false
		}
		many = many[i+1:]
	}
	return true
}

// distance returns the number of letters to insert, remove, replace or swap
// with a neighbour to make b of a; any number from limit on if it is not less.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before := make([]int, len(b)+1) // the row above prev
	prev := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
