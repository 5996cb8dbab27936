//go:build linux

// This file runs the consumers of docs/consumers as somebody would who copies them.

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
)

// consumerLanguage is a language of docs/consumers.
type consumerLanguage struct {
	name    string
	prepare func(t *testing.T) (dir string) // in which the programs run
	redis   []string
	amqp    []string
	test    []string // of its library, in its own folder
}

// consumerLanguages returns all.
func consumerLanguages(t *testing.T) []consumerLanguage {
	t.Helper()
	inputs.Do(readInputs)
	docs, err := filepath.Abs("../../docs/consumers")
	if err != nil {
		t.Fatal(err)
	}
	return []consumerLanguage{
		{"javascript", func(t *testing.T) string {
			return installNode(t, filepath.Join(docs, "javascript"), "event.js", "journal.js", "epochs.js", "seen.js", "redis.js", "amqp.js")
		}, []string{"node", "redis.js"}, []string{"node", "amqp.js"}, []string{"node", "--test", "seen.test.js", "epochs.test.js"}},
		{"python", func(t *testing.T) string {
			needs(t, "python3")
			from := filepath.Join(docs, "python")
			return once(t, from, func(dir string) error {
				// Beside what they import, the programs find it.
				if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
					return err
				}
				return output(exec.Command("python3", "-m", "pip", "install", "-q", "--target", dir, "-r", filepath.Join(from, "requirements.txt")))
			})
		}, []string{"python3", "redis_consumer.py"}, []string{"python3", "amqp_consumer.py"}, []string{"python3", "-m", "unittest"}},
		{"go", func(t *testing.T) string {
			from := filepath.Join(docs, "go")
			return once(t, from, func(dir string) error {
				cmd := exec.Command("go", "build", "-buildvcs=false", "-o", dir, "./redis", "./amqp")
				cmd.Dir = from
				return output(cmd)
			})
		}, []string{"./redis"}, []string{"./amqp"}, []string{"go", "test", "./..."}},
	}
}

// TestConsumersLibrary runs the tests of what knows processed events, in each language.
func TestConsumersLibrary(t *testing.T) {
	for _, l := range consumerLanguages(t) {
		t.Run(l.name, func(t *testing.T) {
			needs(t, l.test[0])
			cmd := exec.CommandContext(t.Context(), l.test[0], l.test[1:]...)
			cmd.Dir = filepath.Join("..", "..", "docs", "consumers", l.name)
			cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestConsumers runs each, in each language that is here, with each encoding. Every event
// is printed once, and a command reaches Discord.
func TestConsumers(t *testing.T) {
	t.Parallel()
	gateway := buildGateway(t)
	redis := redistest.Start(t)
	url := sharedVhost(t)
	for _, tt := range consumerLanguages(t) {
		t.Run(tt.name, func(t *testing.T) {
			dir := tt.prepare(t)
			for _, encoding := range []string{"msgpack-string", "msgpack", "json"} {
				t.Run("redis "+encoding, func(t *testing.T) {
					redis.CLI("FLUSHALL")
					c := startConsumer(t, dir, append(tt.redis, sim.EventNames()...), "REDIS_URL="+redis.Addr, "COMMAND="+docsCommand)
					runConsumer(t, gateway, c, "BROKER_TYPE=redis", "REDIS_URL="+redis.URL(), "BROKER_ENCODING="+encoding, "REDIS_FIELDS=shard,session,seq")
				})
			}
			t.Run("amqp", func(t *testing.T) {
				ch := amqpChannel(t, url)
				for _, key := range []string{"SEND", "0"} { // as the gateway would, which is not running yet
					if err := ch.ExchangeDeclare("gateway", "direct", true, false, false, false, nil); err != nil {
						t.Fatal(err)
					}
					if _, err := ch.QueueDeclare("gateway:"+key, true, false, false, false, nil); err != nil {
						t.Fatal(err)
					}
					if err := ch.QueueBind("gateway:"+key, key, "gateway", false, nil); err != nil {
						t.Fatal(err)
					}
				}
				// The consumer before was killed with messages that it had printed and not acknowledged.
				for _, event := range sim.EventNames() {
					if _, err := ch.QueueDelete("gateway:bots:"+event, false, false, false); err != nil {
						t.Fatal(err)
					}
				}
				c := startConsumer(t, dir, append(tt.amqp, sim.EventNames()...), "AMQP_URL="+url, "COMMAND="+docsCommand)
				waitFor(t, "the consumer's queues", func() bool { return strings.Contains(c.out.String(), "bound") })
				runConsumer(t, gateway, c, "BROKER_TYPE=amqp", "AMQP_URL="+url, "AMQP_HEADERS=true")
			})
		})
	}
}

// docsCommand is what the consumers send.
const docsCommand = `{"guild_id":"4194304","packet":{"op":8,"d":{"guild_id":"4194304","query":"","limit":1,"nonce":"docs"}}}`

// runConsumer runs the gateway until the consumer has printed every event.
func runConsumer(t *testing.T, gateway string, c *consumer, env ...string) {
	t.Helper()
	srv := startSim(t, sim.Options{TLS: true, Shards: 1})
	p := startGateway(t, setup{name: gateway}, srv, env...)
	waitFor(t, "the command at Discord", func() bool {
		return slices.ContainsFunc(srv.Ledger().Commands(), func(c sim.Command) bool { return strings.Contains(string(c.Raw), `"nonce":"docs"`) })
	})
	srv.Burst(0, 200)
	want := silence(srv)
	printed := func() (n int) {
		for line := range strings.Lines(c.out.String()) {
			if strings.HasPrefix(line, "{") {
				n++
			}
		}
		return n
	}
	waitFor(t, "events printed", func() bool {
		select {
		case err := <-c.ended:
			t.Fatalf("the consumer ended: %v\n%s", err, c.out.String())
		default:
		}
		return printed() >= want
	})
	p.terminate()
	p.exit(0)
	if n := printed(); n != want {
		t.Errorf("%d events were printed, want %d", n, want)
	}
	for line := range strings.Lines(c.out.String()) {
		var e struct {
			Event string
			Data  map[string]any
		}
		if strings.HasPrefix(line, "{") && (json.Unmarshal([]byte(line), &e) != nil || e.Event == "" || len(e.Data) == 0) {
			t.Errorf("printed %.200q", line)
		}
	}
}

// consumer is a program of a bot that reads events.
type consumer struct {
	out   lockedBuffer
	ended chan error
	kill  func() // as SIGKILL does; returns when the process has ended
}

// startConsumer starts a program in a folder.
func startConsumer(t *testing.T, dir string, command []string, env ...string) *consumer {
	t.Helper()
	c := &consumer{ended: make(chan error, 1)}
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &c.out, &c.out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.ended <- cmd.Wait()
	}()
	c.kill = func() {
		cmd.Process.Kill() // nothing to end if it has ended
		<-done
	}
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("the consumer printed:\n%s", c.out.String())
		}
	})
	return c
}
