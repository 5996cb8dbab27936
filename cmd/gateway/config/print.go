// This file prints settings: those in force, and the table of all.

package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Format returns the settings as a TOML document, each with where it comes
// from; secrets are masked. What is not set is a comment.
func (c *Config) Format() string {
	width, table := 0, c.settings()
	for _, s := range table {
		width = max(width, len(s.Key))
	}
	const valueWidth = 24
	var b strings.Builder
	for _, s := range table {
		value, origin := c.shown(s)
		if origin == "" {
			origin = "default"
		}
		line := fmt.Sprintf("%-*s = %s", width, s.Key, value)
		if value == "" {
			unset := s.Default
			switch {
			case s.Key == "token" && c.tokenFile != "":
				unset = "from token_file"
			case s.Key == "http.token" && c.httpTokenFile != "":
				unset = "from http.token_file"
			case s.Key == "intents":
				unset = "replaced by rawintents"
			}
			line = fmt.Sprintf("# %-*s   %s", width-2, s.Key, unset)
		}
		pad := max(0, width+3+valueWidth-utf8.RuneCountInString(line))
		fmt.Fprintf(&b, "%s%*s  # %s\n", line, pad, "", origin)
	}
	return b.String()
}

// shown returns a setting's value as TOML, empty if it is not set, and where it comes from, empty if it is
// the default.
func (c *Config) shown(s Setting) (value, origin string) {
	value = s.show()
	if o := c.origins[s.Key]; o.Kind != FromDefault {
		return c.Token.Redact(value), oneLine(o.String()) // which may be in an address or a path
	}
	return value, ""
}

// Value is a setting in force.
type Value struct {
	Key    string
	Value  string // as TOML, secrets masked; empty: it is not set
	Origin string // where it comes from; empty: it is the default
}

// Values returns the settings in force, in the order in which settings are documented.
func (c *Config) Values() (all []Value) {
	for _, s := range c.settings() {
		value, origin := c.shown(s)
		all = append(all, Value{s.Key, value, origin})
	}
	return all
}

// Markdown returns the table of all settings for docs/settings.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| in the file | variable | default | reload | what it is |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range Settings() {
		value := s.Default
		if strings.HasPrefix(value, `"`) || isDigits(value) {
			value = "`" + value + "`"
		}
		env := "`" + s.Env + "`"
		if s.Flag != "" {
			env += ", flag `-" + s.Flag + "`"
		}
		reload := ""
		if s.Reload {
			reload = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s (%s) |\n", s.Key, env, value, reload, s.Doc, s.Takes)
	}
	return b.String()
}
