// This file is `gateway health`.

package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// healthTimeout is how long `gateway health` waits for an answer.
const healthTimeout = 5 * time.Second

// health asks the running process whether it is live, or ready, and prints the checks that fail.
func health(ctx context.Context, c client, ready bool, stdout, stderr io.Writer) int {
	path := "/livez"
	if ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeoutCause(ctx, healthTimeout, fmt.Errorf("no answer within %v", healthTimeout))
	defer cancel()
	body, code, err := c.get(ctx, path)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "error: %v\n", err)
		return exitFailure
	case code == http.StatusOK, code == http.StatusServiceUnavailable:
		fmt.Fprint(stdout, printableLines(string(body)))
		if code == http.StatusOK {
			return exitOK
		}
		return exitFailure
	}
	fmt.Fprintf(stderr, "error: %v\n", refused(path, code))
	return exitFailure
}
