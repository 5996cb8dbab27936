//go:build linux

// This file tests that a broker is asked without being changed.

package amqp

import (
	"errors"
	"strings"
	"testing"

	"sluice/sinks/sinktest/rabbitmq"
)

func testCheck(t *testing.T, node *rabbitmq.Node) {
	if err := channel(t, dial(t, node.URL())).ExchangeDeclare("checked", "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		exchange string
		exists   bool
	}{{"checked", true}, {"unchecked", false}, {"unchecked", false}} {
		exists, err := Check(t.Context(), Options{URLs: []string{"amqp://127.0.0.1:1", node.URL()}, Exchange: tt.exchange})
		if err != nil || exists != tt.exists {
			t.Errorf("%s: %t, %v", tt.exchange, exists, err)
		}
	}
	if all := node.Ctl("list_exchanges", "name"); strings.Contains(all, "unchecked") {
		t.Errorf("it was declared:\n%s", all)
	}
	if _, err := Check(t.Context(), Options{URLs: []string{"amqp://guest:s3cret@" + node.Addr}}); !errors.As(err, new(*ConfigError)) {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := Check(t.Context(), Options{URLs: []string{"amqp://127.0.0.1:1"}}); err == nil || errors.As(err, new(*ConfigError)) {
		t.Errorf("nobody: %v", err)
	}
}
