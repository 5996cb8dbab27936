// This file runs the gateway under a service manager that asks and is told, in the place of signals. Which
// one that is, is not its business: service_windows.go has the one there is.

package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"sluice/cmd/gateway/config"
)

// serviceName is the name of the service, unless the command line has another.
const serviceName = "sluice"

// service returns the name of the service that `gateway service` is about.
func (cmd *command) service() string {
	if len(cmd.args) > 1 {
		return cmd.args[1]
	}
	return serviceName
}

// namesService is what the name of a service may be here: it is a part of an account's name and of a key
// of the registry.
var namesService = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`).MatchString

// refuseStdio refuses settings with which the events of a service would go nowhere.
func refuseStdio(cfg *config.Config) error {
	if cfg.Broker.Type == config.BrokerStdio {
		return errors.New("broker.type: a service has no standard output for its events: set redis or amqp")
	}
	return nil
}

// install is `gateway service install`.
func install(cmd command, cfg *config.Config, stdout, stderr io.Writer) int {
	if err := refuseStdio(cfg); err != nil {
		printError(stderr, cfg, err)
		return exitUsage
	}
	if err := installService(cmd, cfg, stdout); err != nil {
		printError(stderr, cfg, err)
		return exitFailure
	}
	return exitOK
}

// manager is a service manager as the process sees it.
type manager struct {
	ctx     context.Context  // done when the process is to stop
	reloads <-chan os.Signal // each has the settings read again
	ready   func()           // tells that the start is over
}

// order is what a service manager asks for.
type order int

const (
	orderReport order = iota // the state
	orderStop
	orderReload
)

// serviceState is what a service manager is told.
type serviceState int

const (
	serviceStarts serviceState = iota
	serviceRuns
	serviceStops
)

// serviceReport is a state with how it goes on: while a service starts or stops, a step that does not rise
// within the time counts as one that hangs.
type serviceReport struct {
	state  serviceState
	step   uint32
	within time.Duration
}

const (
	serviceEvery  = time.Second     // between reports while it starts or stops
	serviceWithin = 5 * time.Second // until the next one
)

// service is a gateway under a service manager.
type service struct {
	run    func(*manager) int
	report func(serviceReport)
	ticks  <-chan time.Time // each serviceEvery
}

// serve runs the gateway until it ends, does what is ordered, and returns the exit code. A start that
// takes long counts as one after startTimeout: what it waits for, such as the broker, may take hours, and
// a service that starts cannot be stopped.
func (s *service) serve(orders <-chan order) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	reloads := make(chan os.Signal, 1) // one that waits is for all
	ready, ended := make(chan struct{}, 1), make(chan int, 1)
	go func() { ended <- s.run(&manager{ctx, reloads, func() { ready <- struct{}{} }}) }()
	now := serviceReport{serviceStarts, 1, serviceWithin}
	s.report(now)
	for {
		select {
		case code := <-ended:
			return code
		case <-ready:
			if now.state != serviceStarts {
				continue
			}
			now = serviceReport{state: serviceRuns}
		case <-s.ticks:
			switch {
			case now.state == serviceRuns:
				continue
			case now.state == serviceStarts && now.step >= uint32(startTimeout/serviceEvery):
				now = serviceReport{state: serviceRuns}
			default:
				now.step++
			}
		case o := <-orders:
			switch {
			case o == orderStop && now.state != serviceStops:
				now = serviceReport{serviceStops, 1, serviceWithin}
				stop()
			case o == orderReload:
				select {
				case reloads <- syscall.SIGHUP:
				default:
				}
			}
		}
		s.report(now)
	}
}

// maxRecord bounds a line in the log of a system: that of Windows has 31,839 characters for it.
const maxRecord = 30_000

// records is a writer that gives each line to a log of the system, with its level.
type records func(level slog.Level, line string)

func (add records) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			add(levelOf(line), strings.ToValidUTF8(line[:min(len(line), maxRecord)], ""))
		}
	}
	return len(p), nil
}

// levelOf returns the level of a line of the log, or of one that says what is wrong with the settings.
func levelOf(line string) slog.Level {
	head := line[:min(len(line), 100)] // time and level come first
	if strings.HasPrefix(line, "time=") || strings.HasPrefix(line, "{") {
		for _, level := range []slog.Level{slog.LevelError, slog.LevelWarn} {
			if strings.Contains(head, " level="+level.String()+" ") || strings.Contains(head, `"level":"`+level.String()+`"`) {
				return level
			}
		}
		return slog.LevelInfo
	}
	switch {
	case strings.HasPrefix(line, "gateway: "), strings.Contains(line, "error: "):
		return slog.LevelError
	case strings.Contains(line, "warning: "):
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
