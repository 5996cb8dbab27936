//go:build linux

// This file has Discord close a connection with a code that nobody documents, and looks wherever it is shown.

package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks/sinktest"
	"sluice/wire"
)

// Ends are counted together for the codes that are not documented, as "other". The number by which the engine keeps them
// apart is nowhere; of its own shard the code is shown as it came.
func TestOtherCode(t *testing.T) {
	t.Parallel()
	srv := startSim(t, sim.Options{Shards: 1})
	address := sinktest.FreeAddress(t)
	p := startGateway(t, setup{name: buildGateway(t)}, srv, "HTTP_ADDRESS="+address)
	waitFor(t, "the shard", func() bool { return srv.Connected() == 1 })
	for _, code := range []wire.CloseCode{4321, 3000} {
		before := srv.Ledger().Summary().Resumes
		waitFor(t, "a close", func() bool { return srv.CloseShard(0, code, "") == 1 })
		waitFor(t, "a resume", func() bool { return srv.Ledger().Summary().Resumes > before && srv.Connected() == 1 })
	}

	inside := regexp.MustCompile(`\b` + strconv.Itoa(int(engine.OtherCode)) + `\b`)
	get := func(path string) func() string {
		return func() string {
			code, body, err := answered(asker(nil), "GET", "http://"+address+path, "")
			if err != nil || code != 200 {
				t.Errorf("%s: %d, %v", path, code, err)
			}
			return body
		}
	}
	run := func(args ...string) func() string {
		return func() string {
			cmd := exec.CommandContext(t.Context(), p.cmd.Path, args...)
			cmd.Dir = p.cmd.Dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("gateway %v: %v\n%s", args, err, out)
			}
			return string(out)
		}
	}
	for what, show := range map[string]struct {
		text func() string
		want []string
	}{
		"/metrics":             {get("/metrics"), []string{`sluice_connections_ended_total{cause="closed by Discord",code="other"} 2`}},
		"/status":              {get("/status"), []string{`{"cause":"closed by Discord","other":true,"count":2}`, `"code":3000`}},
		"gateway status":       {run("status"), []string{"2 × closed by Discord, other\n"}},
		"gateway status -json": {run("status", "-json"), []string{`"other":true,"count":2`, `"code":3000`}},
		"gateway top":          {func() string { return p.top("closed by Discord (3000)") }, nil},
	} {
		text := show.text()
		for _, want := range show.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %s:\n%s", what, want, text)
			}
		}
		if inside.MatchString(text) {
			t.Errorf("%s has %s:\n%s", what, inside, text)
		}
	}
	b := openTab(t, browser(t), "http://"+address+"/", desktop)
	b.says("#ended", "closed by Discord other 2")
	if text := value[string](b, "document.body.innerText"); inside.MatchString(text) {
		t.Errorf("the page has %s:\n%s", inside, text)
	}
	b.quiet()
	p.terminate()
	p.read(func(int, line) bool { return true })
	p.exit(0)
}

// top runs `gateway top` in a terminal until that is shown, and returns all that was.
func (p *program) top(until string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "script", "-qec", "stty columns 160 rows 40; exec '"+p.cmd.Path+"' top", "/dev/null")
	cmd.Dir, cmd.Env = p.cmd.Dir, append(os.Environ(), "TERM=xterm-256color")
	var screen lockedBuffer
	cmd.Stdout, cmd.Stderr = &screen, &screen
	keys, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	waitFor(p.t, until+" in top", func() bool { return strings.Contains(screen.String(), until) })
	keys.Write([]byte("q"))
	if err := cmd.Wait(); err != nil {
		p.t.Errorf("gateway top: %v\n%s", err, screen.String())
	}
	return screen.String()
}
