// This file makes the values of settings: each reads itself into a field of the
// Config, and shows itself as TOML.

package config

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/sinks/broker"
)

// value is what a setting holds.
type value struct {
	Takes string         // what kind of value, in a word or two
	Names []string       // the values there are, if they are names
	read  func(in input) // into the field, or into the report what is wrong
	show  func() string  // as TOML, "" if there is nothing
	get   func() any     // what is in the field
	put   func(any)      // into the field, what get has returned
}

// valueOf is the value of a field that takes what parse returns, if parse has reported nothing.
func valueOf[T any](takes string, to *T, show func(T) string, parse func(input) T) value {
	read := func(in input) {
		before := in.r.errors
		if v := parse(in); in.r.errors == before {
			*to = v
		}
	}
	return value{
		Takes: takes, read: read, show: func() string { return show(*to) },
		get: func() any { return *to }, put: func(v any) { *to = v.(T) },
	}
}

// then has f follow when a value has been read into the field.
func (v value) then(f func(in input)) value {
	read := v.read
	v.read = func(in input) {
		before := in.r.errors
		if read(in); in.r.errors == before {
			f(in)
		}
	}
	return v
}

// text is a text of which trouble, unless nil, says what is wrong, or "".
func text[T ~string](to *T, takes, example string, trouble func(string) string) value {
	return valueOf(takes, to, show, func(in input) T {
		s := want[string](in, quote(example))
		if s != "" && trouble != nil {
			in.refuse(trouble(s))
		}
		return T(s)
	})
}

// list is a list of such texts.
func list[T ~string](to *[]T, takes, example string, trouble func(string) string) value {
	return listOf(to, takes, example, func(list []T, in input, s string) []T {
		in.r.secrets.addURL(s)
		in.refuse(trouble(s))
		return append(list, T(s))
	})
}

// urls is a list of addresses. One alone needs no list around it.
func urls(to *[]SecretURL, example string, trouble func(string) string) value {
	v := list(to, "list of addresses", example, trouble)
	read := v.read
	v.read = func(in input) {
		if s, alone := in.value.(string); alone && !in.loose {
			in.value = []any{s}
		}
		read(in)
	}
	return v
}

// listOf is a list to which add adds each of the names.
func listOf[T any](to *[]T, takes, example string, add func(list []T, in input, name string) []T) value {
	return valueOf(takes, to, showList, func(in input) []T {
		list := []T{}
		in.names(example, func(in input, name string) { list = add(list, in, name) })
		return list
	})
}

func path(to *string, example string) value {
	return text(to, "path", example, func(s string) string {
		if strings.HasPrefix(s, "~/") || strings.HasPrefix(s, "$") {
			return fmt.Sprintf("%.60q begins with what a shell replaces, and there is none here; write the whole path", s)
		}
		return ""
	})
}

// pathOrNone is a path; none makes the field empty.
func pathOrNone(to *string, example string) value {
	v := path(to, example).then(func(input) {
		if *to == "none" {
			*to = ""
		}
	})
	v.show = func() string { return quote(cmp.Or(*to, "none")) }
	return v
}

// number is a whole number. A field that is not set is 0, where 0 is below low.
func number(to *int, low, high int64) value {
	show := func(n int) string {
		if n == 0 && low > 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	return valueOf("number", to, show, func(in input) int { return int(in.number(low, high)) })
}

// version is that of an interface of Discord.
func version(to *int) value {
	return number(to, 9, 10).then(func(in input) {
		if *to == 9 {
			in.warnf("9 is the older version; all here was made for 10")
		}
	})
}

func boolean(to *bool) value { return valueOf(Boolean, to, strconv.FormatBool, input.boolean) }

func size[T int | int64](to *T, low, high int64) value {
	show := func(n T) string { return quote(formatSize(int64(n))) }
	return valueOf("size", to, show, func(in input) T { return T(in.size(low, high)) })
}

func duration(to *time.Duration, low, high time.Duration) value {
	show := func(d time.Duration) string { return quote(formatDuration(d)) }
	return valueOf("duration", to, show, func(in input) time.Duration { return in.duration(low, high) })
}

// choice is one of the names, each of which stands for the value in its place.
func choice[T comparable](to *T, names []string, values ...T) value {
	show := func(v T) string { return quote(names[slices.Index(values, v)]) }
	v := valueOf("name", to, show, func(in input) (v T) {
		if i := in.index(names); i >= 0 {
			v = values[i]
		}
		return v
	})
	v.Names = names
	return v
}

func oneOf(to *string, names ...string) value { return choice(to, names, names...) }

// readerType is how connections are read on this system.
func readerType(to *string) value {
	return oneOf(to, ReaderGoroutine, ReaderEpoll).then(func(in input) {
		if *to == ReaderEpoll && runtime.GOOS != "linux" {
			in.errorf("epoll is for Linux, and this is %s; goroutine works everywhere", runtime.GOOS)
		}
	})
}

func template(to *broker.Template) value {
	show := func(t broker.Template) string { return quote(t.String()) }
	return valueOf("template", to, show, func(in input) (t broker.Template) {
		if s := want[string](in, `"gateway:{event}"`); s != t.String() { // the default is the zero value
			var err error
			if t, err = broker.ParseTemplate(s); err != nil {
				in.errorf("%s", err)
			}
		}
		return t
	})
}

// show writes a text as TOML, or nothing for an empty one.
func show[T ~string](v T) string {
	if v == "" {
		return ""
	}
	return quote(fmt.Sprint(v))
}

// showList writes a list as TOML, or nothing for nil.
func showList[T any](list []T) string {
	if list == nil {
		return ""
	}
	quoted := make([]string, len(list))
	for i, v := range list {
		quoted[i] = quote(fmt.Sprint(v))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// quote writes a text as TOML's basic string.
func quote(s string) string {
	var b strings.Builder
	for _, c := range s { // U+FFFD for what is not UTF-8
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return `"` + b.String() + `"`
}
