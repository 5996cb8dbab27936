// This file is `gateway man`: the page of the manual, from the tables that help is made of.

package cli

import (
	"fmt"
	"strings"

	"sluice/cmd/gateway/config"
)

// manPage returns the page gateway(1). It has no date, so that one revision makes one page.
func manPage() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH GATEWAY 1 \"\" %s \"User Commands\"\n.nh\n", roffArgument("gateway "+version))
	b.WriteString(".SH NAME\ngateway \\- a standalone Discord gateway\n.SH SYNOPSIS\n")
	all := describe()
	for _, c := range all {
		for line := range strings.Lines(c.synopsis) {
			fmt.Fprintf(&b, ".B %s\n.br\n", roff(strings.TrimSpace(line)))
		}
	}
	before, _, _ := strings.Cut(usage, "\n\n")
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s", roffLines(strings.TrimPrefix(before, "gateway ")))
	b.WriteString(".SH COMMANDS\n")
	for _, c := range all {
		_, text, _ := strings.Cut(topics[c.name], "\n\n")
		fmt.Fprintf(&b, ".SS %s\n", roffArgument(c.name))
		preformatted(&b, text)
	}
	b.WriteString(".SH FLAGS\n")
	for _, c := range all {
		if c.name != "run" {
			continue
		}
		for _, f := range c.flags {
			fmt.Fprintf(&b, ".TP\n.BI %s %s\n%s", roffArgument("-"+f.name+" "), roffArgument(f.value), roffLines(f.doc))
		}
	}
	b.WriteString(".SH SETTINGS\nEach has a key in the file and a variable in the environment.\n")
	for _, s := range config.Settings() {
		fmt.Fprintf(&b, ".TP\n.BR %s \", \" %s\n%s", roffArgument(s.Key), roffArgument(s.Env),
			roffLines(strings.ReplaceAll(s.Doc, "`", "")+" ("+s.Takes+"; default: "+s.Default+")"))
	}
	b.WriteString(".SH EXIT STATUS\n")
	_, codes, _ := strings.Cut(topics["exit"], "\n")
	preformatted(&b, codes)
	fmt.Fprintf(&b, ".SH FILES\n.TP\n.I %s\nthe settings, in the working directory, unless\n.B \\-config\nnames another file\n", config.DefaultFile)
	b.WriteString(".TP\n.I /etc/sluice/gateway.toml\nthe settings of the service\n.B sluice\nof the packages\n")
	return b.String()
}

// preformatted writes a text whose lines stay as they are.
func preformatted(b *strings.Builder, text string) {
	fmt.Fprintf(b, ".nf\n%s.fi\n", roffLines(text))
}

// roff escapes what has a meaning for it.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "~", `\(ti`, "^", `\(ha`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// roffArgument is a text as one argument of a macro.
func roffArgument(text string) string {
	return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"`
}

// roffLines escapes a text of several lines, each of which then ends.
func roffLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(roff(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}
