package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain lets the test's own program be the gateway.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_MAIN") != "" {
		main()
		os.Exit(1) // or the tests would run, and start it again
	}
	os.Exit(m.Run())
}

func TestProgram(t *testing.T) {
	for _, test := range []struct {
		arg, stdout, stderr string
		code                int
	}{
		{"version", "gateway ", "", 0},
		{"no-such-command", "", "gateway: ", 2},
	} {
		var stdout, stderr strings.Builder
		cmd := exec.CommandContext(t.Context(), os.Args[0], test.arg)
		cmd.Env = []string{"RUN_MAIN=1"}
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.HasPrefix(stdout.String(), test.stdout) || !strings.HasPrefix(stderr.String(), test.stderr) {
			t.Errorf("gateway %s: exit code %d, want %d; standard output %q, standard error %q", test.arg, code, test.code, stdout.String(), stderr.String())
		}
	}
}
