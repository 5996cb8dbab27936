// This file is `gateway demo`.

package main

import (
	"context"
	"fmt"
	"io"
)

// demo runs the gateway against a simulated Discord and returns the exit code.
func demo(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fmt.Fprintln(stderr, "gateway: the demo is not wired in yet")
	return exitFailure
}
