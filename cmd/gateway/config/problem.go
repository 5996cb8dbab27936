// This file says where a setting comes from and what is wrong with it.

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// OriginKind is the kind of place that a setting comes from, in ascending
// order of precedence.
type OriginKind uint8

const (
	FromDefault OriginKind = iota
	FromFile
	FromEnvironment
	FromFlag
)

// Origin is where a setting comes from. The zero value is the default.
type Origin struct {
	Kind         OriginKind
	Name         string // of the file, variable or flag
	Line, Column int    // in the file, from 1; 0: the file as a whole
}

func (o Origin) String() string {
	switch {
	case o.Kind == FromEnvironment:
		return "environment " + o.Name
	case o.Kind == FromFlag:
		return "flag -" + o.Name
	case o.Kind == FromDefault:
		return "default"
	case o.Line == 0:
		return o.Name
	}
	return fmt.Sprintf("%s:%d:%d", o.Name, o.Line, o.Column)
}

// Severity says what a Problem means for the start.
type Severity uint8

const (
	Note    Severity = iota // worth knowing
	Warning                 // probably not what was meant
	Error                   // the gateway does not start
)

func (s Severity) String() string { return [...]string{"note", "warning", "error"}[s] }

// Problem is something to report about the settings. No text of it holds a
// secret.
type Problem struct {
	Severity Severity
	Origin   Origin // where it is
	Key      string // the setting it is about, or empty
	Text     string // one line: what is wrong and what would be right
}

// String returns the problem as one line, as compilers write theirs: place, severity,
// key, text.
func (p Problem) String() string {
	line := p.Severity.String() + ": "
	if p.Origin.Kind != FromDefault {
		line = p.Origin.String() + ": " + line
	}
	if p.Key != "" {
		line += p.Key + ": "
	}
	return line + p.Text
}

// Problems are in the order of the file's lines, then the environment's, the flags', and
// those of settings that do not fit together.
type Problems []Problem

// Failed reports whether an Error is among them.
func (ps Problems) Failed() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == Error })
}

// report collects problems while settings are read.
type report struct {
	problems Problems
	secrets  Secrets
	errors   int
	failed   map[string]bool // settings by key that have an error
}

func (r *report) add(s Severity, at Origin, key, format string, args ...any) {
	r.problems = append(r.problems, Problem{Severity: s, Origin: at, Key: key, Text: fmt.Sprintf(format, args...)})
	if s == Error {
		r.errors++
		r.failed[key] = true
	}
}

// sorted returns the problems in their order, without secrets and without
// anything that would break a line.
func (r *report) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Origin.Kind-FromFile, b.Origin.Kind-FromFile), // FromDefault is the last
			cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Origin.Column, b.Origin.Column),
		)
	})
	for i := range r.problems {
		p := &r.problems[i]
		for _, text := range []*string{&p.Origin.Name, &p.Key, &p.Text} {
			*text = oneLine(r.secrets.Redact(*text))
		}
	}
	return r.problems
}

// oneLine returns the text with escapes for what is not printable.
func oneLine(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) {
		quoted := strconv.Quote(text)
		return quoted[1 : len(quoted)-1]
	}
	return text
}
