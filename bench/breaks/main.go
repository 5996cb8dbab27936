//go:build unix

// Command breaks makes the product wrong in small ways, and finds out which test notices each,
// and when. The edits are laid over the sources, which stay as they are. It fails if no test
// notices one, or if the text to edit is not there any more.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	failed, tried := false, 0
	for i, b := range breakages {
		if len(os.Args) > 1 && !strings.Contains(b.name, strings.Join(os.Args[1:], " ")) {
			continue
		}
		tried++
		began := time.Now()
		noticed, err := try(b)
		if err != nil {
			failed = true
			noticed = "error: " + err.Error()
		}
		fmt.Printf("%2d  %-46s %7.1f s  %s\n", i+1, b.name, time.Since(began).Seconds(), noticed)
	}
	if tried == 0 {
		fmt.Fprintf(os.Stderr, "no breakage is named %q: see bench/breaks/list.go\n", strings.Join(os.Args[1:], " "))
	}
	if failed || tried == 0 {
		os.Exit(1)
	}
}

// try runs the tests over the breakage until the first that fails, and returns its name.
func try(b breakage) (test string, err error) {
	file, err := filepath.Abs(b.file)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), b.old); n != 1 {
		return "", fmt.Errorf("%s has the text to edit %d times", b.file, n)
	}
	dir, err := os.MkdirTemp("", "breaks-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	broken, overlay := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {file: broken}})
	if err == nil {
		err = os.WriteFile(broken, []byte(strings.Replace(string(text), b.old, b.new, 1)), 0o600)
	}
	if err == nil {
		err = os.WriteFile(overlay, list, 0o600)
	}
	if err != nil {
		return "", err
	}
	near := b.near
	if near == "" {
		near = filepath.Dir(b.file)
	}
	for pkg := range strings.FieldsSeq(near) { // the others follow below, by themselves
		if test, err = run(overlay, "make", "test-near", "NEAR="+pkg, "TESTFLAGS=-failfast -v"); test != "" || err != nil {
			return test, err
		}
	}
	if test, err = run(overlay, "make", "test", "TESTFLAGS=-failfast -v"); test == "" && err == nil {
		err = errors.New("no test has noticed it")
	}
	return test, err
}

var (
	failure = regexp.MustCompile(`^\s*--- FAIL: (\S+)`)
	crash   = regexp.MustCompile(`^(panic: |fatal error: |FAIL\s+sluice)`)
	unbuilt = regexp.MustCompile(`\[(build|setup) failed\]`)
	running = regexp.MustCompile(`^=== (?:RUN|CONT)\s+(\S+)`)
)

// longest is more than make test takes, even where a wait ends by its patience alone.
const longest = 20 * time.Minute

// run runs the command as far as the first failure of a test, and returns its name.
func run(overlay, name string, args ...string) (test string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", err
	}
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and what it has started
		cmd.Wait()
	}()
	lines := bufio.NewReader(out)
	last := ""
	for {
		line, err := lines.ReadString('\n')
		if m := running.FindStringSubmatch(line); m != nil {
			last = m[1]
		}
		switch m := failure.FindStringSubmatch(line); {
		case unbuilt.MatchString(line):
			return "", errors.New("it does not compile: " + strings.TrimSpace(line))
		case m != nil:
			return m[1], nil
		case crash.MatchString(line):
			return fmt.Sprintf("%s: %s", last, strings.TrimSpace(line)), nil
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%s: %w, and no test has failed", strings.Join(append([]string{name}, args...), " "), err)
	}
	return "", nil
}
