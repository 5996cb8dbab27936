// This file tests how errors read.

package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

func TestPlain(t *testing.T) {
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6379}
	lookup := func(dns net.DNSError) error {
		dns.Name, dns.Server = "redis", "127.0.0.11:53"
		return &net.OpError{Op: "dial", Net: "tcp", Err: &dns}
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: address, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	reset := &net.OpError{Op: "read", Net: "tcp", Source: address, Addr: address, Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("x"), "x"},
		{lookup(net.DNSError{Err: "no such host", IsNotFound: true}), `there is no host "redis": DNS does not know the name`},
		{lookup(net.DNSError{Err: "i/o timeout", IsTimeout: true}), `DNS does not answer for the host "redis"`},
		{lookup(net.DNSError{Err: "server misbehaving", IsTemporary: true}), `DNS has no answer for the host "redis": server misbehaving`},
		{fmt.Errorf("redis: %w", fmt.Errorf("redis: %w", refused)), "redis: 127.0.0.1:6379: connection refused"},
		{fmt.Errorf("broker.required is set: redis: 127.0.0.1:6379: redis: %w", refused), "broker.required is set: redis: 127.0.0.1:6379: connection refused"},
		{fmt.Errorf("amqp: the broker: %w", reset), "amqp: the broker: 127.0.0.1:6379: connection reset by peer"},
		{fmt.Errorf("shard_store.directory: resume: resume: %w", os.ErrPermission), "shard_store.directory: permission denied"},
		{errors.New("redis.urls: redis: NOAUTH x"), "redis.urls: NOAUTH x"},
		{fmt.Errorf("amqp: %w", &amqp091.Error{Code: 501, Reason: "EOF"}), "amqp: EOF"},
		{fmt.Errorf("amqp: %w", &amqp091.Error{Code: 530, Reason: "NOT_ALLOWED", Server: true}), "amqp: NOT_ALLOWED (530)"},
		{fmt.Errorf("connect: %w", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), "connect: the server does not speak TLS on this port"},
		{fmt.Errorf("redis: %w", context.DeadlineExceeded), "redis: no answer in time"},
		{fmt.Errorf("redis: %w", os.ErrDeadlineExceeded), "redis: no answer in time"},
		{errors.Join(fmt.Errorf("amqp: %w", refused), fmt.Errorf("amqp: %w", reset)), "amqp: 127.0.0.1:6379: connection refused\namqp: 127.0.0.1:6379: connection reset by peer"},
		{errors.New("ERR said 'redis: redis: resume: x'"), "ERR said 'redis: redis: resume: x'"},
	} {
		if got := plain(tt.err); got != tt.want {
			t.Errorf("%v\nreads %s\nwant  %s", tt.err, got, tt.want)
		}
	}
}
