// This file tests what is made of standard output, and of brokers that are not there.

package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/sinks/redis"
)

func TestEndLine(t *testing.T) {
	for _, tt := range []struct{ before, after string }{
		{"", ""}, {"whole\n", "whole\n"}, {"whole\n{\"event", "whole\n{\"event\n"},
	} {
		name := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(name, []byte(tt.before), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := endLine(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got, _ := os.ReadFile(name); string(got) != tt.after {
			t.Errorf("%q becomes %q, want %q", tt.before, got, tt.after)
		}
	}
}

// A server that takes a connection and says nothing does not keep the process from ending.
func TestConnectRedisEndsWithContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o, err := redis.NewClientOption([]string{l.Addr().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if c, err := l.Accept(); err == nil {
			defer c.Close()
			c.Read(make([]byte, 1)) // it is in the middle of it
			cancel()
			<-t.Context().Done()
		}
	}()
	if _, err := connectRedis(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("connected with %v", err)
	}
}

// No command shows the password of a broker, whatever is wrong with its address.
func TestBrokerPasswordsAreNotShown(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, broker := range []struct{ kind, variable, scheme string }{{"amqp", "AMQP_URL", "amqp"}, {"redis", "REDIS_URL", "redis"}} {
		for _, rest := range []string{
			"://u:pw-secret@[::1", "://u:pw-secret%zz@127.0.0.1:1", "://u:pw-secret@127.0.0.1:99999", "://u:pw/secret@127.0.0.1:1", "://u:pw-secret@127.0.0.1:1/%zz",
			"://u:pw-secret@127.0.0.1:1/xx", "s://u:pw-secret@127.0.0.1:1", "://:pw-secret@127.0.0.1:1", "://u:pw-secret@127.0.0.1:1?master_set=x&password=pw-secret", "x://u:pw-secret@127.0.0.1:1",
		} {
			environ := []string{"DISCORD_TOKEN=a.token.secret", "BROKER_TYPE=" + broker.kind, "BROKER_REQUIRED=true", broker.variable + "=" + broker.scheme + rest}
			for _, command := range []string{"check", "config", "run"} {
				got := runCommand(environ, command)
				if strings.Contains(got.stdout+got.stderr, "secret") {
					t.Errorf("%s%s: %s prints\n%s%s", broker.scheme, rest, command, got.stdout, got.stderr)
				}
				if command == "run" && got.code == exitOK {
					t.Errorf("%s%s: runs", broker.scheme, rest)
				}
			}
		}
	}
}
