// This file says that processes are measured on Linux alone.

//go:build !linux

package load

import (
	"errors"
	"os"
	"syscall"

	"sluice/bench/report"
)

type usage struct {
	user, system float64
	rss, maxRSS  int64
	threads      int
}

func readUsage(int) (usage, error) {
	return usage{}, errors.New("load: processes are measured on Linux alone")
}

func openTerminal(uint16, uint16) (person, program *os.File, err error) {
	return nil, nil, errors.New("load: terminals are made on Linux alone")
}

func ownGroup() *syscall.SysProcAttr { return nil }

func signalGroup(int, syscall.Signal) {}

func thisMachine() report.Machine { return report.Machine{} }

func raiseLimit() {}

func rabbitMissing() error { return errors.New("RabbitMQ is started on Linux alone") }

func startRabbit() (broker, error) { return nil, rabbitMissing() }
