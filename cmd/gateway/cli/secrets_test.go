// This file tests that a password which a broker quotes is written nowhere.

package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/sinks"
)

// quotingServer takes connections and answers each command of Redis' protocol with an error that
// quotes it, as a proxy or an old version does with AUTH and HELLO.
func quotingServer(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					var args, size int
					if _, err := fmt.Fscanf(r, "*%d\r\n", &args); err != nil {
						return
					}
					words := make([]string, args)
					for i := range words {
						if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
							return
						}
						word := make([]byte, size+2)
						if _, err := io.ReadFull(r, word); err != nil {
							return
						}
						words[i] = string(word[:size])
					}
					fmt.Fprintf(c, "-ERR unknown command `%s`, with args beginning with: '%s'\r\n", words[0], strings.Join(words[1:], "' '"))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// awaitClients waits for what the Redis client leaves for a second after a login that is refused.
func awaitClients(t *testing.T) {
	stacks := make([]byte, 1<<20)
	for bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("rueidis.(*call).DelayDo")) {
		select {
		case <-t.Context().Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestQuotedPasswordIsNotLogged(t *testing.T) {
	defer awaitClients(t)
	t.Chdir(t.TempDir())
	url := "redis://bob:HUNTER2%2FPASSWORD@" + quotingServer(t)
	for _, environ := range [][]string{
		{"BROKER_TYPE=redis"},
		{"BROKER_TYPE=redis", "SHARD_STORE_TYPE=redis"},
	} {
		environ = append(environ, "DISCORD_TOKEN=x.y.z", "REDIS_URL="+url, "BROKER_REQUIRED=true")
		o := runCommand(environ)
		if o.code == exitOK || !strings.Contains(o.stderr, "unknown command") || strings.Contains(o.stderr, "HUNTER2") {
			t.Errorf("%q: exit code %d\n%s", environ, o.code, o.stderr)
		}
		o = runCommand(append(environ, "SHARD_STORE_TYPE=redis"), "sessions")
		if !strings.Contains(o.stderr, "unknown command") || strings.Contains(o.stderr, "HUNTER2") {
			t.Errorf("sessions: exit code %d\n%s", o.code, o.stderr)
		}
	}
}

func TestQuotedPasswordIsNoReason(t *testing.T) {
	letters := filepath.Join(t.TempDir(), "letters")
	cfg := &config.Config{
		AMQP:   config.AMQPConfig{URLs: []config.SecretURL{"amqp://bob:HUNTER2@127.0.0.1"}},
		Broker: config.BrokerConfig{DeadLetters: letters},
	}
	var out strings.Builder
	put := deadLetters(cfg, newLogger(config.LogConfig{}, cfg.Secrets(), &out))
	put(&sinks.Event{Type: []byte("X"), Data: []byte("{}")}, errors.New("ACCESS_REFUSED for bob with HUNTER2"))
	text, err := os.ReadFile(letters)
	if err != nil || out.Len() > 0 {
		t.Fatal(err, out.String())
	}
	if !strings.Contains(string(text), "ACCESS_REFUSED for bob with ***") {
		t.Errorf("%s", text)
	}
}
