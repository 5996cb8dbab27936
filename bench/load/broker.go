// This file is the broker of a scenario that has one: what arrives there, and what it
// could do by itself.

package load

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"sluice/bench/report"
)

// maxEntries bounds what a broker keeps: in a flood nobody reads it.
const maxEntries = 20_000

// broker is a server of the run's own.
type broker interface {
	pid() int
	address() string // host:port
	// env is what the gateway is told.
	env(count bool) []string
	// consume reads what arrives, as a bot's consumer would, until ctx is done, and
	// notes it as if it had come from the subject's output. With count it need not
	// tell events apart.
	consume(ctx context.Context, p *process, count bool) error
	stop()
}

// startBroker starts the broker of that name.
func startBroker(name string) (broker, error) {
	if name == "amqp" {
		return startRabbitMQ()
	}
	return startRedis()
}

// Events of the baselines with Redis and with RabbitMQ, and the size of a value: that of the recorded events, in
// the mean.
const (
	baselineEvents = 1_000_000
	amqpEvents     = 300_000
	baselineValue  = 753
)

// baseline measures what writes the same entries without a gateway.
func (m *measurement) baseline(ctx context.Context, out *report.Run) error {
	b, err := startBroker(m.sc.broker)
	if err != nil {
		return err
	}
	defer b.stop()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := b.consume(ctx, &process{shards: make(map[int]*shardSeen)}, true); err != nil { // as with the gateway
		return err
	}
	_, port, _ := net.SplitHostPort(b.address())
	args := slices.Clone(m.subject.Command)
	for i, a := range args {
		switch a {
		case "ADDR":
			args[i] = b.address()
		case "PORT":
			args[i] = port
		}
	}
	before, err := readUsage(b.pid())
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var text bytes.Buffer
	cmd.Stderr = &text
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, text.Bytes())
	}
	out.Seconds = time.Since(began).Seconds()
	out.Events = baselineEvents
	if m.sc.broker == "amqp" {
		out.Events = amqpEvents
	}
	out.User, out.System = cmd.ProcessState.UserTime().Seconds(), cmd.ProcessState.SystemTime().Seconds()
	return m.brokerUsage(out, b, before)
}

// brokerUsage notes what the broker used since before.
func (m *measurement) brokerUsage(out *report.Run, b broker, before usage) error {
	after, err := readUsage(b.pid())
	if err != nil {
		return err
	}
	cpu := after.user + after.system - before.user - before.system
	out.Figures["broker_micros_per_event"] = cpu * 1e6 / float64(max(1, out.Events))
	out.Figures["broker_cpu_percent"] = 100 * cpu / out.Seconds
	return nil
}

// baselines returns what is measured beside the gateway with a broker: a loop that does
// nothing but publish, and redis-benchmark.
func baselines(broker string, simulator []string) []Subject {
	if broker == "amqp" {
		return []Subject{{Name: "amqp091-go, pipelined confirms", Baseline: true, Compression: none, Command: []string{simulator[0], "amqp-loop", "ADDR"}}}
	}
	value := string(bytes.Repeat([]byte("x"), baselineValue))
	return []Subject{
		{Name: "rueidis, 256 in a pipeline", Baseline: true, Compression: none, Command: []string{simulator[0], "redis-loop", "ADDR"}},
		{Name: "redis-benchmark -P 256 -c 8", Baseline: true, Compression: none, Command: []string{"redis-benchmark", "-p", "PORT", "-P", "256", "-c", "8",
			"-n", strconv.Itoa(baselineEvents), "-q", "XADD", "MESSAGE_CREATE", "MAXLEN", "~", strconv.Itoa(maxEntries), "*", "data", value}},
	}
}
