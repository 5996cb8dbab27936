// This file is `gateway status`.

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/cmd/gateway/status"
)

// statusTimeout is how long `gateway status` waits for the document.
const statusTimeout = 10 * time.Second

// showStatus prints what the running process says of itself: as a table, or the document as it came.
func showStatus(ctx context.Context, c client, asJSON bool, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeoutCause(ctx, statusTimeout, fmt.Errorf("no answer within %v", statusTimeout))
	defer cancel()
	body, code, err := c.get(ctx, "/status")
	if err == nil && code != http.StatusOK {
		err = refused("/status", code)
	}
	if err == nil && asJSON {
		_, err = stdout.Write(body)
	} else if err == nil {
		err = printStatus(stdout, body)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return exitFailure
	}
	return exitOK
}

// refused is the error of an answer that is none of a gateway, or needs a token.
func refused(path string, code int) error {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s is answered with %d: http.token of the process is needed", path, code)
	case http.StatusNotFound:
		return fmt.Errorf("%s is answered with 404: no gateway, or an earlier version", path)
	}
	return fmt.Errorf("%s is answered with %d", path, code)
}

func printStatus(w io.Writer, body []byte) error {
	var d status.Status
	if err := json.Unmarshal(body, &d); err != nil {
		return fmt.Errorf("/status is not answered with a document of a gateway: %w", err)
	}
	if d.Version != status.Version {
		return fmt.Errorf("the process runs a version whose document this program cannot show (%d, not %d); -json prints it", d.Version, status.Version)
	}
	columns, color := 0, false
	if t := terminalOf(w); t != nil {
		columns, _ = t.size()
		color = t.color
	}
	_, err := io.WriteString(w, statusTable(&d, columns, color))
	return err
}

// printableLines returns a text with escapes for what is not printed, but for the ends of lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printableLine(line)
	}
	return strings.Join(lines, "\n")
}
