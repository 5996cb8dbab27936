// This file starts RabbitMQ, which is done on Linux alone.

package load

import (
	"fmt"
	"os"

	"sluice/sinks/sinktest/rabbitmq"
)

func rabbitMissing() error { return rabbitmq.Available() }

// startRabbit starts a node whose files are temporary.
func startRabbit() (broker, error) {
	dir, err := os.MkdirTemp("", "gateway-bench-rabbitmq-")
	if err != nil {
		return nil, err
	}
	n, err := rabbitmq.Launch(dir, "")
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("load: start RabbitMQ: %w", err)
	}
	b := &rabbitServer{url: n.URL(), addr: n.Addr, process: n.Pid(), end: func() {
		n.Close()
		os.RemoveAll(dir)
	}}
	if err := b.open(); err != nil {
		b.stop()
		return nil, fmt.Errorf("load: %w", err)
	}
	return b, nil
}
