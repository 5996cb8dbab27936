// This file tests what one who asks for an upgrade is told.

package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cmd/gateway/config"
)

// gateway upgrade ends with the outcome of its own request: not of an earlier one, another process
// or a dead one.
func TestAwaitReport(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	self, dead := os.Getpid(), gone.Process.Pid
	for _, tt := range []struct {
		name     string
		pid      int
		before   report   // as the one who asks has seen it
		comes    []report // a second apart
		want     string   // the state; empty: none
		err      string
		draining bool
	}{
		{"done", self, report{}, []report{{1, self, stateChecking, ""}, {1, self, stateDraining, ""}, {1, self, stateDone, ""}}, stateDone, "", true},
		{"done at once", self, report{}, []report{{1, self, stateDone, ""}}, stateDone, "", true},
		{"refused", self, report{}, []report{{1, self, stateChecking, ""}, {1, self, stateRefused, "no"}}, stateRefused, "", false},
		{"not the one before", self, report{ID: 1}, []report{{1, self, stateDone, ""}, {2, self, stateRefused, "no"}}, stateRefused, "", false},
		{"the one in progress", self, report{ID: 1, State: stateDraining}, []report{{1, self, stateDraining, ""}, {1, self, stateFailed, "no"}}, stateFailed, "", true},
		{"of another process", self, report{}, []report{{1, self + 1, stateDone, ""}}, "", "deadline", false},
		{"none, as when nothing can be written", self, report{}, nil, "", "deadline", false},
		{"the process dies", dead, report{}, []report{{1, dead, stateDraining, ""}}, "", "has ended", true},
		{"its last word", dead, report{}, []report{{1, dead, stateFailed, "no"}}, stateFailed, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				write := func() {
					for i, r := range tt.comes {
						if i > 0 {
							time.Sleep(time.Second)
						}
						if err := writeReport(dir, r); err != nil {
							t.Error(err)
						}
					}
				}
				if len(tt.comes) == 1 {
					write()
				} else {
					go write()
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				draining := 0
				r, err := awaitReport(ctx, dir, tt.pid, tt.before, func() { draining++ })
				if tt.err == "" && (err != nil || r.State != tt.want) {
					t.Errorf("%+v, %v, want %s", r, err, tt.want)
				}
				if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
					t.Errorf("%+v, %v, want an error about %s", r, err, tt.err)
				}
				if (draining == 1) != tt.draining || draining > 1 {
					t.Errorf("told %d times that it drains", draining)
				}
			})
		})
	}
}

// One who asks while the directory is nobody's, between the two programs, waits for the
// outcome, too.
func TestUpgradeInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cfg, problems := config.Load(config.Sources{Environ: []string{"DISCORD_TOKEN=x.y.z", "SHARD_STORE_DIRECTORY=" + dir}})
		if problems.Failed() {
			t.Fatal(problems)
		}
		write := func(state string) {
			if err := writeReport(dir, report{ID: 1, PID: os.Getpid(), State: state}); err != nil {
				t.Error(err)
			}
		}
		write(stateDraining)
		go func() {
			time.Sleep(time.Second)
			write(stateDone)
		}()
		var stdout, stderr bytes.Buffer
		if code := upgrade(t.Context(), cfg, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "runs the program") {
			t.Errorf("exit code %d, %s%s", code, stdout.String(), stderr.String())
		}
		if code := upgrade(t.Context(), cfg, &stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), "no process uses the directory") {
			t.Errorf("without a process: exit code %d, %s", code, stderr.String())
		}
	})
}

// A program knows by the report that it has been put in the place of another, and reports
// once; one that was started as usual reports nothing.
func TestSuccessorReports(t *testing.T) {
	dir := t.TempDir()
	cfg, problems := config.Load(config.Sources{Environ: []string{"DISCORD_TOKEN=one.token.secret", "SHARD_STORE_DIRECTORY=" + dir}})
	if problems.Failed() {
		t.Fatal(problems)
	}
	start := func() *upgrades { return newUpgrades(cfg, slog.New(slog.DiscardHandler)) }
	start().started()
	if _, err := readReport(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a report of no upgrade: %v", err)
	}
	for _, tt := range []struct {
		left report
		act  func(u *upgrades)
		want report
	}{
		{report{1, os.Getpid(), stateDraining, ""}, func(u *upgrades) { u.started(); u.failed(errors.New("later")) }, report{1, os.Getpid(), stateDone, ""}},
		{report{2, os.Getpid(), stateDraining, ""}, func(u *upgrades) { u.failed(errors.New("no one.token.secret")); u.started() }, report{2, os.Getpid(), stateFailed, "no ***"}},
		{report{3, os.Getpid() + 1, stateDraining, ""}, func(u *upgrades) { u.started() }, report{3, os.Getpid() + 1, stateDraining, ""}},
		{report{4, os.Getpid(), stateRefused, "no"}, func(u *upgrades) { u.started() }, report{4, os.Getpid(), stateRefused, "no"}},
	} {
		if err := writeReport(dir, tt.left); err != nil {
			t.Fatal(err)
		}
		tt.act(start())
		got, err := readReport(dir)
		if strings.Contains(got.Error, "secret") {
			t.Errorf("the token is reported: %q", got.Error)
		}
		got.Error, tt.want.Error = got.Error[:min(len(got.Error), 2)], tt.want.Error[:min(len(tt.want.Error), 2)]
		if err != nil || got != tt.want {
			t.Errorf("after %+v there is %+v, %v, want %+v", tt.left, got, err, tt.want)
		}
	}
	// What cannot be written is no reason not to run.
	os.Remove(filepath.Join(dir, reportName+".new"))
	if err := writeReport(dir, report{5, os.Getpid(), stateDraining, ""}); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(dir, reportName+".new"), 0o700)
	start().started()
}

// What a broker quotes of a login is masked in the report, too.
func TestReportHidesPasswords(t *testing.T) {
	dir := t.TempDir()
	cfg := &config.Config{
		Redis:      config.RedisConfig{URLs: []config.SecretURL{"redis://bob:HUNTER2@127.0.0.1"}},
		ShardStore: config.ShardStoreConfig{Type: config.StoreFile, Directory: dir},
	}
	u := newUpgrades(cfg, slog.New(slog.DiscardHandler))
	u.attempt.Store(&report{ID: 1, PID: os.Getpid()})
	u.failed(errors.New("ERR unknown command `AUTH`, with args beginning with: 'bob' 'HUNTER2'"))
	if r, err := readReport(dir); err != nil || !strings.Contains(r.Error, "'bob' '***'") {
		t.Errorf("%+v, %v", r, err)
	}
}
