// This file is the broker of a scenario that has one: a server of the run's own, and
// what writes to it without a gateway.

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

// brokerKind is a kind of broker.
type brokerKind struct {
	// missing says what there is to install before one can be started; nil: nothing.
	missing func() error
	start   func() (broker, error)
	// baselines are measured beside the gateway. In their commands ADDR and PORT are the
	// broker's, EVENTS is how many events there are, and RATE how many a second, 0 for
	// as many as the broker takes.
	baselines func(simulator []string) []Subject
	events    int  // of a baseline, where there is no rate
	paced     bool // baselines keep to the scenario's rate, and their events are consumed
}

// broker is a server that runs.
type broker interface {
	address() string // host:port
	pid() int
	// env is the gateway's settings. With count the events are counted, and not read.
	env(count bool) []string
	// consume reads what arrives, as a bot's consumer would, until ctx is done, and
	// notes it as if it had come from the subject's output. With count it only counts:
	// reading each event would take more of the machine than writing it.
	consume(ctx context.Context, p *process, count bool) error
	stop()
}

// Bounds of a baseline in a quick run, and the size of a value: that of the recorded
// events, in the mean.
const (
	quickEvents   = 20_000
	baselineValue = 753
)

// baselineEvents returns how many events a baseline writes, and how many a second.
func (m *measurement) baselineEvents() (events int, rate float64) {
	if kind := m.sc.broker; m.sc.rate < 0 || !kind.paced {
		events = kind.events
	} else {
		rate = m.sc.rate * float64(m.sc.shards)
		events = int(rate * m.o.Window.Seconds())
	}
	if m.o.Quick {
		events = min(events, quickEvents)
	}
	return events, rate
}

// baseline measures what writes the same entries without a gateway.
func (m *measurement) baseline(ctx context.Context, out *report.Run) error {
	b, err := m.sc.broker.start()
	if err != nil {
		return err
	}
	defer b.stop()
	events, rate := m.baselineEvents()
	_, port, _ := net.SplitHostPort(b.address())
	args := slices.Clone(m.subject.Command)
	for i, a := range args {
		switch a {
		case "ADDR":
			args[i] = b.address()
		case "PORT":
			args[i] = port
		case "EVENTS":
			args[i] = strconv.Itoa(events)
		case "RATE":
			args[i] = strconv.FormatFloat(rate, 'f', -1, 64)
		}
	}
	var arrived *process
	if rate > 0 {
		consuming, stop := context.WithCancel(ctx)
		defer stop()
		arrived = &process{shards: make(map[int]*shardSeen)}
		if err := b.consume(consuming, arrived, false); err != nil {
			return err
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
	out.Events = int64(events)
	out.User, out.System = cmd.ProcessState.UserTime().Seconds(), cmd.ProcessState.SystemTime().Seconds()
	if err := m.brokerUsage(out, b, before); err != nil || arrived == nil {
		return err
	}
	return all(ctx, arrived, out.Events)
}

// all waits until so many events of one shard have arrived, each once and in order.
func all(ctx context.Context, p *process, events int64) error {
	for end := time.Now().Add(30 * time.Second); ; {
		switch s := p.seen(); {
		case s.gaps > 0 || s.again > 0:
			return fmt.Errorf("%d events did not come, and %d came again or late", s.gaps, s.again)
		case s.events == events:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%d of %d events arrived", s.events, events)
		}
		if err := pause(ctx, pollPeriod); err != nil {
			return err
		}
	}
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
