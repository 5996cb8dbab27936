// This file reads from the texts of help what there is to complete and to describe: a new
// subcommand needs its row in the usage and its topic, and nothing else.

package cli

import (
	"regexp"
	"slices"
	"strings"

	"sluice/cmd/gateway/config"
)

// subcommand is what a shell or a manual says of one.
type subcommand struct {
	name     string
	synopsis string // the first paragraph of its topic
	short    string // what the usage says of it
	flags    []cliFlag
	words    []string // that may follow it
}

// cliFlag is a flag of a subcommand.
type cliFlag struct {
	name  string // without the dash
	value string // what it takes, in a word; empty: nothing
	doc   string
	names []string // the values, if they are few
}

// file reports whether the flag takes the name of a file.
func (f *cliFlag) file() bool { return f.value == "file" }

var (
	synopsisFlag = regexp.MustCompile(`-([a-z][a-z-]*)(?: ([a-z0-9.]+))?`)
	synopsisWord = regexp.MustCompile(`(?:^|[\s\[])([a-z]+(?:\|[a-z]+)+)`)
	flagRow      = regexp.MustCompile(`(?m)^  -([a-z][a-z-]*)(?: ([a-z]+))?  +(\S.*(?:\n {5,}\S.*)*)`)
	usageRow     = regexp.MustCompile(`(?m)^  gateway ([a-z-]+)(?: \S+)*?(?:  +|\n {10,})(\S.*(?:\n {20,}\S.*)*)`)
)

// describe returns the subcommands, run first.
func describe() []subcommand {
	shorts := map[string]string{"run": "run"}
	for _, m := range usageRow.FindAllStringSubmatch(usage, -1) {
		shorts[m[1]] = strings.Join(strings.Fields(m[2]), " ")
	}
	all := make([]subcommand, len(subcommands))
	for i, name := range subcommands {
		synopsis, _, _ := strings.Cut(topics[name], "\n\n")
		c := subcommand{name: name, synopsis: strings.TrimSuffix(synopsis, "\n"), short: shorts[name]}
		text := topics[name]
		if name == "run" {
			text += usage
		}
		for _, m := range flagRow.FindAllStringSubmatch(text, -1) {
			c.add(cliFlag{name: m[1], value: m[2], doc: strings.Join(strings.Fields(m[3]), " ")})
		}
		for _, m := range synopsisFlag.FindAllStringSubmatch(synopsis, -1) {
			c.add(cliFlag{name: m[1], value: m[2]})
		}
		for _, m := range synopsisWord.FindAllStringSubmatch(synopsis, -1) {
			c.words = append(c.words, strings.Split(m[1], "|")...)
		}
		switch name {
		case "help":
			c.words = topicNames
		case "sessions":
			c.words = []string{"clear"}
		case "service":
			c.words = []string{"install", "remove"}
		}
		all[i] = c
	}
	slices.SortStableFunc(all, func(a, b subcommand) int { return strings.Compare(rank(a.name), rank(b.name)) })
	return all
}

// rank is what subcommands are sorted by.
func rank(name string) string {
	if name == "run" {
		return ""
	}
	return name
}

// add adds a flag that is not there yet.
func (c *subcommand) add(f cliFlag) {
	if slices.ContainsFunc(c.flags, func(have cliFlag) bool { return have.name == f.name }) {
		return
	}
	for _, s := range config.Settings() {
		if s.Flag == f.name {
			f.names = s.Names
		}
	}
	c.flags = append(c.flags, f)
}
