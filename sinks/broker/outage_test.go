// This file tests what is said of a broker.

package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

// TestOutageBegan: a broker that has not answered was unavailable before the timeout.
func TestOutageBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		o := Outage{Log: slog.New(slog.NewTextHandler(&out, nil)), Broker: "Redis", Tried: time.Now()}
		time.Sleep(10 * time.Second)
		o.Failed(errors.New("no answer"))
		time.Sleep(30 * time.Second)
		o.Over()
		for _, want := range []string{"for=10s", "after=40s"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s is missing:\n%s", want, out.String())
			}
		}
	})
}
