// This file is the service manager of Windows.

package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	"sluice/cmd/gateway/config"
)

// asService runs the command line as a service, if the service manager has started this process.
// Signals are left alone: a service gets one when any user logs off.
func asService(args, environ []string) (code int, is bool) {
	is, err := svc.IsWindowsService()
	if err != nil || !is {
		return 0, false
	}
	h := &serviceHandler{args: args, environ: environ}
	if err := svc.Run(serviceName, h); err != nil {
		return exitFailure, true
	}
	return h.code, true
}

type serviceHandler struct {
	args, environ []string
	code          int
}

// Execute is called by svc.Run. There is no standard output and no standard error: what would be written
// there goes to the event log Application, whose source is the service's name, args[0].
func (h *serviceHandler) Execute(args []string, requests <-chan svc.ChangeRequest, changes chan<- svc.Status) (specific bool, code uint32) {
	var out io.Writer = io.Discard
	if log, err := eventlog.Open(args[0]); err == nil {
		defer log.Close()
		out = records(func(level slog.Level, line string) { record(log, level, line) })
	}
	if err := enterDirectory(h.args); err != nil {
		fmt.Fprintf(out, "error: %v\n", err)
	}
	ticker := time.NewTicker(serviceEvery)
	defer ticker.Stop()
	s := service{
		run:    func(m *manager) int { return start(h.args, h.environ, out, out, m) },
		report: func(r serviceReport) { changes <- statusOf(r) },
		ticks:  ticker.C,
	}
	orders := make(chan order)
	go func() {
		for r := range requests {
			orders <- orderOf(r.Cmd)
		}
	}()
	h.code = s.serve(orders)
	return true, uint32(h.code)
}

// enterDirectory makes the directory of the settings file the working directory, which is that of the
// system otherwise; without a file, that of the program.
func enterDirectory(args []string) error {
	file, err := os.Executable()
	if cmd, e := parseCommand(args); e == nil && cmd.file != "" {
		file, err = filepath.Abs(cmd.file)
	}
	if err != nil {
		return err
	}
	return os.Chdir(filepath.Dir(file))
}

// record writes to the event log. 1 is a number that its messages have with eventlog.InstallAsEventCreate.
func record(log *eventlog.Log, level slog.Level, line string) {
	switch level {
	case slog.LevelError:
		log.Error(1, line)
	case slog.LevelWarn:
		log.Warning(1, line)
	default:
		log.Info(1, line)
	}
}

func orderOf(c svc.Cmd) order {
	switch c {
	case svc.Stop, svc.Shutdown, svc.PreShutdown:
		return orderStop
	case svc.ParamChange:
		return orderReload
	}
	return orderReport
}

// statusOf returns what the service manager is told. PreShutdown comes when the services that this one
// needs, such as a broker, are not stopped yet.
func statusOf(r serviceReport) svc.Status {
	status := svc.Status{CheckPoint: r.step, WaitHint: uint32(r.within.Milliseconds())}
	switch r.state {
	case serviceStarts:
		status.State = svc.StartPending
	case serviceRuns:
		status.State = svc.Running
		status.Accepts = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown | svc.AcceptParamChange
	case serviceStops:
		status.State = svc.StopPending
	}
	return status
}

// findServices reports why services cannot be managed.
func findServices() error {
	m, err := connectManager()
	if err != nil {
		return err
	}
	return m.Disconnect()
}

func connectManager() (*mgr.Mgr, error) {
	m, err := mgr.Connect()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		err = errors.New("the service manager is for administrators: run it in a console that was opened as administrator")
	}
	return m, err
}

// installService installs the service with the settings of the command line.
func installService(cmd command, cfg *config.Config, stdout io.Writer) error {
	if cmd.file == "" {
		return errors.New("service install needs -config with the settings file, whose directory the service works in")
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if cmd.file, err = filepath.Abs(cmd.file); err != nil {
		return err
	}
	m, err := connectManager()
	if err != nil {
		return err
	}
	defer m.Disconnect()
	name := cmd.service()
	account := `NT SERVICE\` + name // made with the service, and nobody else's
	s, err := m.CreateService(name, exe, mgr.Config{
		StartType:        mgr.StartAutomatic,
		ErrorControl:     mgr.ErrorNormal,
		ServiceStartName: account,
		DisplayName:      "Sluice, a Discord gateway (" + name + ")",
		Description:      "Holds a bot's shards and publishes every event to Redis or RabbitMQ.",
	}, cmd.settings()...)
	switch {
	case errors.Is(err, windows.ERROR_SERVICE_EXISTS):
		return fmt.Errorf("there is a service %s already: gateway service remove %s removes it", name, name)
	case err != nil:
		return fmt.Errorf("service %s: %w", name, err)
	}
	defer s.Close()
	if err := prepareService(s, name); err != nil {
		return errors.Join(fmt.Errorf("service %s: %w", name, err), s.Delete())
	}
	fmt.Fprintf(stdout, "Service %s is installed, and starts with the system. It runs as %s.\n"+
		"This lets it, and administrators, use its directory, and starts it:\n"+
		"  icacls \"%s\" /inheritance:r /grant \"*S-1-5-32-544:(OI)(CI)F\" \"%s:(OI)(CI)M\"\n  sc.exe start %s\n",
		name, account, filepath.Dir(cmd.file), account, name)
	return nil
}

// prepareService has the service started again when it fails, whether it crashes or says so, and lets
// it write to the event log.
func prepareService(s *mgr.Service, name string) error {
	again := func(after time.Duration) mgr.RecoveryAction {
		return mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: after}
	}
	const day = 24 * 60 * 60 // without a failure, and it counts from the first again
	if err := s.SetRecoveryActions([]mgr.RecoveryAction{again(5 * time.Second), again(30 * time.Second), again(5 * time.Minute)}, day); err != nil {
		return err
	}
	if err := s.SetRecoveryActionsOnNonCrashFailures(true); err != nil {
		return err
	}
	eventlog.Remove(name) // of one that was removed by other means
	return eventlog.InstallAsEventCreate(name, eventlog.Error|eventlog.Warning|eventlog.Info)
}

// removeService removes the service. One that runs is gone when it has been stopped.
func removeService(name string, stdout io.Writer) error {
	m, err := connectManager()
	if err != nil {
		return err
	}
	defer m.Disconnect()
	s, err := m.OpenService(name)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return fmt.Errorf("there is no service %s", name)
	}
	if err != nil {
		return fmt.Errorf("service %s: %w", name, err)
	}
	defer s.Close()
	if err := s.Delete(); err != nil {
		return fmt.Errorf("service %s: %w", name, err)
	}
	eventlog.Remove(name)
	fmt.Fprintf(stdout, "Service %s is removed; if it runs, then when it has stopped. Its directory is left.\n", name)
	return nil
}
