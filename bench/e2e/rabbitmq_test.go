//go:build linux

// This file has the RabbitMQ that tests share: a node takes seconds to start.

package e2e

import (
	"strconv"
	"sync/atomic"
	"testing"

	"sluice/sinks/sinktest/rabbitmq"
)

var (
	sharedNode   *rabbitmq.Node
	sharedVhosts atomic.Int64
)

// sharedRabbitMQ returns a node for tests that leave it alone: they neither end it nor have it block. In its virtual host /
// a test has names of its own.
func sharedRabbitMQ(t *testing.T) *rabbitmq.Node {
	t.Helper()
	once(t, "rabbitmq", func(dir string) (err error) {
		if sharedNode, err = rabbitmq.Launch(dir, ""); err == nil {
			shared.add(sharedNode.Close)
		}
		return err
	})
	return sharedNode
}

// sharedVhost returns the URL of a virtual host that no other test has, at the node of sharedRabbitMQ.
func sharedVhost(t *testing.T) (url string) {
	t.Helper()
	url, err := sharedRabbitMQ(t).Vhost("test" + strconv.FormatInt(sharedVhosts.Add(1), 10))
	if err != nil {
		t.Fatal(err)
	}
	return url
}
