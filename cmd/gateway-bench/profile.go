// This file is "gateway-bench profile": where the gateway spends its time and
// what it allocates in a scenario.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sluice/bench/load"
)

// topLines are printed of each profile.
const topLines = 25

func runProfile(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o load.Options
	var f runFlags
	var dir string
	fs := runFlagSet("profile", "Runs one scenario, leaves a CPU and an allocation profile of the gateway, and prints what is on top.", &o, &f, stderr)
	fs.StringVar(&dir, "o", ".", "`directory` to leave the profiles in")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return usageError{fmt.Errorf("one scenario is profiled, got %q", strings.Join(fs.Args(), " "))}
	}
	cleanup, err := f.apply(ctx, &o, fs.Args())
	if err != nil {
		return err
	}
	defer cleanup()
	o.Progress, o.Repeat, o.GatewayOnly = stderr, 1, true
	cpu := filepath.Join(dir, fs.Arg(0)+".cpu.pprof")
	allocs := filepath.Join(dir, fs.Arg(0)+".allocs.pprof")
	var failed error
	taken := false
	done := make(chan struct{})
	o.InWindow = func(debug string, window time.Duration) {
		if taken {
			time.Sleep(window) // another compression of the scenario
			return
		}
		taken = true
		defer close(done)
		// Both of the same seconds: what the start allocated is no part of them.
		length := fmt.Sprintf("?seconds=%d", max(1, int(window.Seconds())))
		other := make(chan error)
		go func() { other <- fetch(ctx, debug+"/debug/pprof/allocs"+length, allocs) }()
		failed = errors.Join(fetch(ctx, debug+"/debug/pprof/profile"+length, cpu), <-other)
	}
	r, err := load.Run(ctx, o)
	if err != nil {
		return err
	}
	if taken {
		<-done
	}
	if err := r.WriteTable(stdout); err != nil {
		return err
	}
	switch {
	case !taken:
		return fmt.Errorf("the window was not reached: %s", r.Scenarios[0].Subjects[0].Runs[0].Failure)
	case failed != nil:
		return failed
	}
	for _, p := range []struct{ file, index string }{{cpu, ""}, {allocs, "-sample_index=alloc_objects"}} {
		fmt.Fprintf(stdout, "\n%s\n", p.file)
		goTool := []string{"tool", "pprof", "-top", fmt.Sprintf("-nodecount=%d", topLines)}
		if p.index != "" {
			goTool = append(goTool, p.index)
		}
		out, err := exec.CommandContext(ctx, "go", append(goTool, p.file)...).Output()
		if err != nil {
			fmt.Fprintf(stdout, "go tool pprof -top %s shows it, where Go is\n", p.file)
			continue
		}
		stdout.Write(out)
	}
	return nil
}

// fetch writes what url answers into a file.
func fetch(ctx context.Context, url, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
