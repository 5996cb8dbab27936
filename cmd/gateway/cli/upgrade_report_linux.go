// This file is `gateway upgrade`, and what the process that hands over leaves for it.

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/resume"
	"sluice/resume/file"
)

// reportName is the file of the state directory that holds the last report.
const reportName = "upgrade"

// report says how an upgrade goes. The process that hands over, and the program that
// takes its place, are the only ones to write it, one after the other.
type report struct {
	ID    int64  `json:"id"` // of the attempt
	PID   int    `json:"pid"`
	State string `json:"state"`
	Error string `json:"error,omitempty"`
}

// States of an upgrade. The first two are followed by others.
const (
	stateChecking = "checking" // whether the new program takes the settings
	stateDraining = "draining" // the old one, and then starting the new one
	stateRefused  = "refused"  // the old program goes on
	stateFailed   = "failed"   // neither goes on
	stateDone     = "done"     // the new one runs
)

func (r report) over() bool {
	return r.State == stateRefused || r.State == stateFailed || r.State == stateDone
}

func readReport(dir string) (r report, err error) {
	text, err := os.ReadFile(filepath.Join(dir, reportName))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// writeReport puts a report in the place of the last one, whole or not at all.
func writeReport(dir string, r report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, reportName)
	if err := os.WriteFile(name+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// upgrade is `gateway upgrade`: it asks the process that has the state directory to hand
// over, and waits for the outcome.
func upgrade(ctx context.Context, cfg *config.Config, stdout, stderr io.Writer) int {
	if cfg.Shards.Auto {
		fmt.Fprintln(stderr, `error: shards.ids: with "auto" it is not known which process to ask; send it SIGUSR2`)
		return exitUsage
	}
	if cfg.ShardStore.Type != config.StoreFile {
		fmt.Fprintf(stderr, "error: shard_store.type: with %q it is not known which process to ask; send it SIGUSR2\n", cfg.ShardStore.Type)
		return exitUsage
	}
	dir := cfg.ShardStore.Directory
	before, _ := readReport(dir)
	pid, draining, err := owner(dir)
	if draining {
		before, _ = readReport(dir) // it is waited for; a signal would come too late
	} else if err == nil {
		err = syscall.Kill(pid, syscall.SIGUSR2)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %s\n", plain(fmt.Errorf("shard_store.directory: %w", err)))
		return exitFailure
	}
	if !draining && (before.PID != pid || before.over()) {
		before.State = "" // else an attempt is in progress: this process waits for it, too
	}
	// The check, the drain, and a start that waits for its store and broker.
	limit := checkTimeout + cfg.ShutdownTimeout + resume.LoadTimeout + startTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := awaitReport(ctx, dir, pid, before, func() { fmt.Fprintf(stdout, "process %d hands over\n", pid) })
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("process %d has not reported the outcome within %v; its log says how it goes (versions before this one do not report)", pid, limit)
	case errors.Is(err, context.Canceled):
		err = fmt.Errorf("the outcome is no longer waited for; the log of process %d says how it goes", pid)
	case err == nil && r.State == stateRefused:
		err = fmt.Errorf("process %d goes on as it was: %s", pid, r.Error)
	case err == nil && r.State == stateFailed:
		err = fmt.Errorf("process %d has ended: %s", pid, r.Error)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %s\n", plain(fmt.Errorf("upgrade: %w", err)))
		return exitFailure
	}
	fmt.Fprintf(stdout, "process %d runs the program that is now on the disk\n", pid)
	return exitOK
}

// owner returns the process that has the state directory. One that hands over has let go of
// it for a moment, and may be about to say that it has it again: draining.
func owner(dir string) (pid int, draining bool, err error) {
	for tries := 0; ; tries++ {
		if pid, err = file.Owner(dir); err == nil {
			return pid, false, nil
		}
		r, unread := readReport(dir)
		alive := unread == nil && !hasEnded(r.PID)
		switch {
		case alive && r.State == stateDraining:
			return r.PID, true, nil
		case !alive || tries == 50:
			return 0, false, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// awaitReport waits for the outcome of an attempt after the one before, or of that one if it
// is in progress. It calls draining once.
func awaitReport(ctx context.Context, dir string, pid int, before report, draining func()) (report, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	reported := false
	for {
		dead := hasEnded(pid) // before the report is read, which may be its last
		r, err := readReport(dir)
		if err == nil && r.PID == pid && (r.ID != before.ID || before.State != "") {
			if !reported && (r.State == stateDraining || r.State == stateDone) {
				reported = true
				draining()
			}
			if r.over() {
				return r, nil
			}
		}
		if dead {
			return r, fmt.Errorf("process %d has ended; its log says why", pid)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
}

// hasEnded reports whether there is no such process, or nothing but its exit code. One that
// becomes another program looks like that for a moment: its first thread ends before another
// takes its place.
func hasEnded(pid int) bool {
	for range 50 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return syscall.Kill(pid, 0) == syscall.ESRCH
		}
		if _, rest, _ := bytes.Cut(stat, []byte(") ")); !bytes.HasPrefix(rest, []byte("Z")) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}
