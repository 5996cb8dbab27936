// This file writes JSON: compact, in the order of the calls.

package sim

import (
	"encoding/json"
	"strconv"
	"time"
)

// jsonWriter appends JSON to b. A key of "" is for elements of arrays and for
// the outermost value.
type jsonWriter struct{ b []byte }

func (w *jsonWriter) key(k string) {
	if n := len(w.b); n > 0 && w.b[n-1] != '{' && w.b[n-1] != '[' && w.b[n-1] != ':' {
		w.b = append(w.b, ',')
	}
	if k != "" {
		w.b = append(append(append(w.b, '"'), k...), '"', ':')
	}
}

// open begins an object or an array, end ends it.
func (w *jsonWriter) open(k string, bracket byte) {
	w.key(k)
	w.b = append(w.b, bracket)
}

func (w *jsonWriter) end(bracket byte) { w.b = append(w.b, bracket) }

// raw writes JSON as it is.
func (w *jsonWriter) raw(k, v string) {
	w.key(k)
	w.b = append(w.b, v...)
}

func (w *jsonWriter) int(k string, v int64) {
	w.key(k)
	w.b = strconv.AppendInt(w.b, v, 10)
}

func (w *jsonWriter) bool(k string, v bool) {
	w.key(k)
	w.b = strconv.AppendBool(w.b, v)
}

// id writes a snowflake, a string.
func (w *jsonWriter) id(k string, v uint64) {
	w.key(k)
	w.b = append(strconv.AppendUint(append(w.b, '"'), v, 10), '"')
}

// str writes a string that needs no escapes but those of quotes and backslashes.
func (w *jsonWriter) str(k, v string) {
	w.key(k)
	w.b = append(w.b, '"')
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"' || c == '\\':
			w.b = append(w.b, '\\', c)
		case c < 0x20:
			const hex = "0123456789abcdef"
			w.b = append(w.b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			w.b = append(w.b, c)
		}
	}
	w.b = append(w.b, '"')
}

// quoted writes any string, as encoding/json does.
func (w *jsonWriter) quoted(k, v string) {
	w.key(k)
	b, _ := json.Marshal(v) // of a string it never fails
	w.b = append(w.b, b...)
}

// time writes a time as Discord does.
func (w *jsonWriter) time(k string, t time.Time) {
	w.key(k)
	w.b = append(w.b, '"')
	w.b = t.UTC().AppendFormat(w.b, "2006-01-02T15:04:05.000000+00:00")
	w.b = append(w.b, '"')
}
