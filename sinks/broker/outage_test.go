// This file tests what is said of a broker.

package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestOutageOfClosedSink: a connection that its own sink has called off says nothing of the broker.
func TestOutageOfClosedSink(t *testing.T) {
	var out strings.Builder
	o := Outage{Log: slog.New(slog.NewTextHandler(&out, nil)), Broker: "Redis"}
	if o.Failed(fmt.Errorf("redis: %w", context.Canceled)) <= 0 {
		t.Error("no wait")
	}
	o.Over()
	if out.Len() > 0 {
		t.Errorf("it is logged:\n%s", out.String())
	}
	o.Failed(errors.New("refused"))
	o.Over()
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("an outage has %d lines:\n%s", n, out.String())
	}
}
