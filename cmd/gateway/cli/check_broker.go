// This file asks the broker and the store whether they would let the gateway in.

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"sluice/cmd/gateway/config"
)

// peers returns what a start connects to.
func (r registry) peers(cfg *config.Config) (names []string) {
	if cfg.AsksAPI() {
		names = append(names, cfg.APIBase())
	}
	if cfg.Gateway.URL != "" {
		names = append(names, cfg.Gateway.URL)
	}
	for b, use := range r.servers(cfg) {
		names = append(names, fmt.Sprintf("%s at %s (%s)", b.Name, b.addresses(cfg), use))
	}
	return names
}

// check logs in to the broker and the store, changes nothing there, and prints a line for each.
func (r registry) check(ctx context.Context, cfg *config.Config, stdout, stderr io.Writer) (code int) {
	for b, use := range r.servers(cfg) {
		note, err := b.check(ctx, cfg)
		if err == nil {
			line := fmt.Sprintf("%s: ok: %s answers (%s)", b.Name, b.addresses(cfg), use)
			if note != "" {
				line += "; " + note
			}
			fmt.Fprintln(stdout, cfg.Secrets().Redact(line))
			continue
		}
		switch {
		case code != exitOK:
		case isMistake(err):
			code = exitUsage
		default:
			code = exitFailure
		}
		fmt.Fprintf(stderr, "error: %s\n", strings.ReplaceAll(cfg.Secrets().Redact(explain(err)), "\n", "; "))
	}
	return code
}
