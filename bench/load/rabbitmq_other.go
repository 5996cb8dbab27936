//go:build !linux

// This file is for the systems on which the harness starts no RabbitMQ.

package load

import "errors"

func startRabbitMQ() (broker, error) { return nil, errNoRabbitMQ }

// AMQPLoop publishes to a RabbitMQ of the harness, which is for Linux.
func AMQPLoop(string) error { return errNoRabbitMQ }

var errNoRabbitMQ = errors.New("load: the scenarios with RabbitMQ are for Linux")
