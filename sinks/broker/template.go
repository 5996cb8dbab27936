// This file makes names of streams and routing keys of what an event says about
// itself.

package broker

import (
	"fmt"
	"strconv"
	"strings"

	"sluice/sinks"
)

// Template is a name with places in it: {event} for the event's name, {shard} for
// its shard's id, {shard%16} for that modulo 16. The zero value is the event's name
// alone. Any number of goroutines may use one.
type Template struct {
	text  string
	parts []part
}

// part is a text, or a place if text is empty.
type part struct {
	text  string
	shard bool
	mod   int // of the shard; 0: none
}

// ParseTemplate reads a template. The error says which place it does not know.
func ParseTemplate(s string) (Template, error) {
	t := Template{text: s}
	for s != "" {
		text, rest, ok := strings.Cut(s, "{")
		if text != "" {
			t.parts = append(t.parts, part{text: text})
		}
		if !ok {
			break
		}
		place, after, ok := strings.Cut(rest, "}")
		if !ok {
			return Template{}, fmt.Errorf("%.60q has a { without a }", t.text)
		}
		name, modulus, hasModulus := strings.Cut(place, "%")
		p := part{shard: name == "shard"}
		if hasModulus {
			p.mod, _ = strconv.Atoi(modulus)
		}
		if name != "event" && name != "shard" || hasModulus && (name != "shard" || p.mod < 1) {
			return Template{}, fmt.Errorf("{%.40s} is none of {event}, {shard} and {shard%%16}", place)
		}
		t.parts = append(t.parts, p)
		s = after
	}
	return t, nil
}

// String returns the template as it was read.
func (t Template) String() string {
	if t.text == "" {
		return "{event}"
	}
	return t.text
}

// Append appends the name for ev.
func (t Template) Append(dst []byte, ev *sinks.Event) []byte {
	if len(t.parts) == 0 {
		return append(dst, ev.Type...)
	}
	for _, p := range t.parts {
		switch {
		case p.text != "":
			dst = append(dst, p.text...)
		case !p.shard:
			dst = append(dst, ev.Type...)
		case p.mod > 0:
			dst = strconv.AppendInt(dst, int64(ev.Shard%p.mod), 10)
		default:
			dst = strconv.AppendInt(dst, int64(ev.Shard), 10)
		}
	}
	return dst
}

// NamesEvent reports whether the event's name can be read from the name.
func (t Template) NamesEvent() bool {
	for _, p := range t.parts {
		if p.text == "" && !p.shard {
			return true
		}
	}
	return len(t.parts) == 0
}
