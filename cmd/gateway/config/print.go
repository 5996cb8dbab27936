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
		origin, value := "default", s.show()
		if o := c.origins[s.Key]; o.Kind != FromDefault {
			origin = oneLine(o.String())
			value = c.Token.Redact(value) // which may be in an address or a path
		}
		line := fmt.Sprintf("%-*s = %s", width, s.Key, value)
		if value == "" {
			unset := s.Default
			switch {
			case s.Key == "token" && c.tokenFile != "":
				unset = "from token_file"
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
