// This file finds what somebody meant who wrote something else.

package config

import (
	"slices"
	"strings"

	"github.com/hbollon/go-edlib"
)

// Nearest returns the candidate that is nearest to the name, or "" if none is
// near. Case, dots, dashes and underscores do not count.
func Nearest(name string, candidates []string) string {
	words := split(name)
	folded := strings.Join(words, "")
	best, bestDistance := "", 2+len(folded)/5
	for _, c := range candidates {
		other := strings.Join(split(c), "")
		if d := max(len(folded)-len(other), len(other)-len(folded)); d >= bestDistance {
			continue
		}
		if d := edlib.OSADamerauLevenshteinDistance(folded, other); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range candidates {
		few, many := words, split(c)
		short, long := folded, strings.Join(many, "")
		if len(few) > len(many) {
			few, many = many, few
		}
		if len(short) > len(long) {
			short, long = long, short
		}
		switch {
		case len(few) >= 2 && len(many) == len(few)+1 && subsequence(few, many), // a word too many or too few
			len(short) >= 4 && len(long)-len(short) <= 4 && strings.HasPrefix(long, short), // another end
			name != "" && strings.HasPrefix(c, name+"-"),
			strings.HasSuffix(c, "."+name[strings.LastIndexByte(name, '.')+1:]): // in another table
			return c
		}
	}
	return ""
}

func didYouMean(name string, candidates []string) string {
	if n := Nearest(name, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// split returns the words of a name in capitals.
func split(s string) []string {
	return strings.FieldsFunc(strings.ToUpper(s), func(c rune) bool { return strings.ContainsRune("_.- ", c) })
}

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
