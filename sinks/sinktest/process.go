//go:build unix

// This file is the process of a server that a test ends, stops and starts again.

package sinktest

import (
	"os/exec"
	"sync"
	"syscall"
)

// Process is a server's process. The zero value has none; any goroutine may call its
// methods.
type Process struct {
	mu  sync.Mutex
	cmd *exec.Cmd
}

// Start starts the command, of which there must be no other.
func (p *Process) Start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd = cmd
	return nil
}

// Kill ends the process as a power cut would: what it had in memory is gone. It may be
// called when it is gone already.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop ends the process as a system that shuts down does.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

func (p *Process) end(sig syscall.Signal) {
	p.mu.Lock()
	cmd := p.cmd
	p.cmd = nil
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	cmd.Process.Signal(syscall.SIGCONT)
	cmd.Process.Signal(sig)
	cmd.Wait()
}

// Pause stops the process where it is, until Resume. It returns when all its threads stand still: kill returns before.
func (p *Process) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return
	}
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != syscall.EINTR {
			return
		}
	}
}

// Resume lets a paused process go on.
func (p *Process) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.cmd.Process.Signal(syscall.SIGCONT)
	}
}

// Running reports whether the process has not been ended.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// Pid returns the process id.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}
