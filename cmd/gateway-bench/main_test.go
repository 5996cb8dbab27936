// This file tests the command's arguments and what it prints.

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Exit codes and output of every command of gateway-bench.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("when=ready do=nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr []string
	}{
		{"none", nil, 2, nil, []string{"usage: gateway-bench"}},
		{"help", []string{"help"}, 0, []string{"sim", "help"}, nil},
		{"unknown", []string{"x"}, 2, nil, []string{`no command "x"`}},
		{"sim", []string{"sim", "-ca", ca, "-token", "tok"}, 0,
			[]string{"api https://127.0.0.1:", "gateway wss://127.0.0.1:", "resume wss://", "ca " + ca, "DISCORD_TOKEN=tok", "connections 0"}, nil},
		{"plain", []string{"sim", "-tls=false"}, 0, []string{"api http://", "gateway ws://", "DISCORD_API_PROTOCOL=http "}, nil},
		{"recording", []string{"sim", "-tls=false", "-record", "10", "-record-compress", "none"}, 0, []string{"api"}, nil},
		{"flags", []string{"sim", "-h"}, 0, nil, []string{"-fault-seed", "-record", "-listen", "-lone-surrogates", "resume-live", "old-starved"}},
		{"bad flag", []string{"sim", "-nope"}, 2, nil, []string{"-nope"}},
		{"bad kind", []string{"sim", "-fault-kinds", "cut-fin,x"}, 2, nil, []string{`"x" is none of`}},
		{"bad script", []string{"sim", "-script", script}, 2, nil, []string{"script line 1"}},
		{"argument", []string{"sim", "x"}, 2, nil, []string{"no arguments"}},
		{"run, flags", []string{"run", "-h"}, 0, nil, []string{"-peer", "-html", "flood-1", "idle-10000"}},
		{"help run", []string{"help", "run"}, 0, []string{"-peer", "flood-1", "BENCH_SAMPLE", `{"event":"MESSAGE_CREATE","shard":3,"seq":64`}, nil},
		{"help on nothing", []string{"help", "x"}, 2, []string{`no command "x"`}, nil},
		{"run, bad flag", []string{"run", "-nope"}, 2, nil, []string{"gateway-bench run: flag provided but not defined: -nope; gateway-bench run -h lists the flags\n"}},
		{"run, bad repeat", []string{"run", "-repeat", "-1"}, 2, nil, []string{"-1 times"}},
		{"run, unknown scenario", []string{"run", "nope"}, 2, nil, []string{`no scenario "nope"; there are flood-1`}},
		{"run, no peers", []string{"run", "-peers"}, 2, nil, []string{"make peers"}},
		{"run, no gateway", []string{"run", "-gateway", "nowhere/gateway"}, 2, nil, []string{"nowhere/gateway can't be run"}},
		{"run, bad peer", []string{"run", "-peer", "x"}, 2, nil, []string{`-peer "x" is not name=command`}},
		{"profile, none", []string{"profile"}, 2, nil, []string{"one scenario"}},
		{"reshard, drains", []string{"reshard", "-drains", "1"}, 2, nil, []string{"-cancels need -members"}},
		{"reshard, members and a file", []string{"reshard", "-members", "3", "-sink", "file", "-store", "file"}, 2, nil, []string{"-members needs a broker"}},
		{"compare, one", []string{"compare", "a.json"}, 2, nil, []string{"two files are compared, got 1"}},
		{"compare, absent", []string{"compare", "nowhere.json", "a.json"}, 2, nil, []string{"nowhere.json"}},
		{"compare, no report", []string{"compare", script, script}, 2, nil, []string{script}},
		{"bad port", []string{"sim", "-listen", "127.0.0.1:70000"}, 2, nil, []string{"port"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // as if interrupted at once
			var stdout, stderr bytes.Buffer
			if code := run(ctx, test.args, &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d\n%s", code, test.code, &stderr)
			}
			for _, want := range test.stdout {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("no %q in\n%s", want, &stdout)
				}
			}
			for _, want := range test.stderr {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("no %q in\n%s", want, &stderr)
				}
			}
		})
	}
	if pem, err := os.ReadFile(ca); err != nil || !bytes.HasPrefix(pem, []byte("-----BEGIN CERTIFICATE-----")) {
		t.Errorf("%q %v", pem, err)
	}
}

// With -v the simulated Discord says what happens while it happens.
func TestSimVerbose(t *testing.T) {
	for verbose, want := range map[string]string{"-v": "msg=REST method=GET path=/api/v10/gateway", "-v=false": ""} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out, stdout := io.Pipe()
		var stderr bytes.Buffer
		ended := make(chan int)
		go func() {
			code := run(ctx, []string{"sim", "-tls=false", verbose}, stdout, &stderr)
			stdout.Close()
			ended <- code
		}()
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		api := strings.TrimPrefix(lines.Text(), "api ")
		go io.Copy(io.Discard, out)
		resp, err := http.Get(api + "/gateway")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		cancel()
		if code := <-ended; code != 0 || !strings.Contains(stderr.String(), want) || want == "" && stderr.Len() > 0 {
			t.Errorf("%s: exit code %d\n%s", verbose, code, &stderr)
		}
	}
}
