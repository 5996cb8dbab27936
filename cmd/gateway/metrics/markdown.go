// This file writes the table of docs/metrics.md.

package metrics

import (
	"fmt"
	"strings"
)

// Markdown returns the tables of docs/metrics.md.
func Markdown() string {
	var b strings.Builder
	for i, g := range groups {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### %s\n\n| metric | type | unit | labels | what it is | when it moves |\n| --- | --- | --- | --- | --- | --- |\n", g.title)
		for _, m := range g.metrics {
			names := make([]string, len(m.Labels))
			for i, l := range m.Labels {
				names[i] = "`" + l + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", m.Name, m.Type, m.Unit, strings.Join(names, ", "), m.Help, m.Look)
		}
	}
	return b.String()
}
