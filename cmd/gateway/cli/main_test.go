// This file tests the command as a person runs it: arguments, environment and
// files in, exit code and output out.

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/engine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// configDir holds the configurations of the tests.
const configDir = "../../../testdata/config"

// outcome is what a run of the command left.
type outcome struct {
	code           int
	stdout, stderr string
}

func runCommand(environ []string, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := Main(args, environ, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// cases calls the function with the name and environment of each configuration
// in the folder, which is the working directory meanwhile.
func cases(t *testing.T, folder string, f func(t *testing.T, name string, environ []string)) {
	t.Chdir(filepath.Join(configDir, folder))
	files, err := filepath.Glob("*.toml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no configurations in %s", folder)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".toml")
		var environ []string
		if text, err := os.ReadFile(name + ".env"); err == nil {
			for line := range strings.Lines(unixText(text)) {
				environ = append(environ, strings.TrimSuffix(line, "\n"))
			}
		}
		t.Run(name, func(t *testing.T) { f(t, name, environ) })
	}
}

// unixText returns a file's text without what a checkout on Windows adds.
func unixText(content []byte) string {
	return strings.ReplaceAll(string(content), "\r\n", "\n")
}

// golden compares the text with the file's, or rewrites the file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with go test -update", err)
	}
	if got != unixText(want) {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// noSecret fails the test if the outcome shows a secret of the configurations
// under testdata, all of which have "secret" or "not.a.token" in them.
func noSecret(t *testing.T, o outcome) {
	t.Helper()
	for _, secret := range []string{"very.secret", "very secret", "second.secret", "very-secret", "other-secret", "not.a.token"} {
		if strings.Contains(o.stdout+o.stderr, secret) {
			t.Errorf("the output shows the secret %q:\n%s%s", secret, o.stdout, o.stderr)
		}
	}
}

// TestBrokenConfigurations runs every command that reads the settings on
// configurations that have a mistake in them.
func TestBrokenConfigurations(t *testing.T) {
	cases(t, "broken", func(t *testing.T, name string, environ []string) {
		checked := runCommand(environ, "check", "-config", name+".toml")
		if checked.code != exitUsage || checked.stdout != "" {
			t.Errorf("check: exit code %d, standard output %q, want %d and nothing", checked.code, checked.stdout, exitUsage)
		}
		noSecret(t, checked)
		golden(t, name+".golden", checked.stderr)
		for _, args := range [][]string{
			{"-config", name + ".toml"},
			{"--config=" + name + ".toml", "run"},
			{"config", "--config", name + ".toml"},
			{"check", "-online", "-config", name + ".toml"},
			{"-loglevel", "suppress", "-config", name + ".toml"},
		} {
			got := runCommand(environ, args...)
			if name == "log-level-env" && args[0] == "-loglevel" {
				continue
			}
			if got != checked {
				t.Errorf("%q: %+v, want the same as check: %+v", args, got, checked)
			}
		}
	})
}

// TestAcceptedConfigurations prints configurations that are good to start with,
// those of the old gateway's README among them.
func TestAcceptedConfigurations(t *testing.T) {
	cases(t, "accepted", func(t *testing.T, name string, environ []string) {
		printed := runCommand(environ, "config", "-config", name+".toml")
		if printed.code != exitOK {
			t.Errorf("config: exit code %d, want 0", printed.code)
		}
		noSecret(t, printed)
		checked := runCommand(environ, "check", "-config", name+".toml")
		warnings := inUse.ReplaceAllString(checked.stderr, "") // of who else has the README's port
		if checked.code != exitOK || warnings != printed.stderr {
			t.Errorf("check: %+v, want exit code 0 and the problems that config tells", checked)
		}
		noSecret(t, checked)
		golden(t, name+".golden", printed.stderr+"--\n"+printed.stdout+"--\n"+checked.stdout)
	})
}

var inUse = regexp.MustCompile("(?m)^warning: prometheus.address: .*address already in use\n")

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// TestUsage is about what needs no settings.
func TestUsage(t *testing.T) {
	const shaped = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyz0123456789AB"
	for _, tc := range []struct {
		args           string
		code           int
		stdout, stderr string // a part of it
	}{
		{"help", exitOK, "DISCORD_SHARD_IDS", ""},
		{"-h", exitOK, "Usage:", ""},
		{"help settings", exitOK, "| `shards.ids` | `DISCORD_SHARD_IDS` | all |", ""},
		{"help intents", exitOK, "MESSAGE_CONTENT                    32768  privileged", ""},
		{"help events", exitOK, "GUILD_MESSAGES or DIRECT_MESSAGES", ""},
		{"help exit", exitOK, "4014", ""},
		{"help check", exitOK, "-online", ""},
		{"check --help", exitOK, "-online", ""},
		{"help setings", exitUsage, "", "no help on \"setings\"; did you mean settings?"},
		{"version", exitOK, "gateway dev", ""},
		{"chekc", exitUsage, "", "gateway: unknown command \"chekc\"; did you mean check?\n"},
		{shaped, exitUsage, "", "unknown command \"***\""},
		{"-" + shaped + "=1", exitUsage, "", "unknown flag -***"},
		{"help " + shaped, exitUsage, "", "no help on \"***\""},
		{"AAAA.BBBB.SECRETSECRET", exitUsage, "", "unknown command \"***\""},
		{"help " + strings.Repeat("A", 60) + shaped, exitUsage, "", "no help on \"***\""},
		{"check online", exitUsage, "", "check takes no argument \"online\"; did you mean -online?"},
		{"check gateway.toml", exitUsage, "", "check takes no argument \"gateway.toml\"; write -config before the name of a file"},
		{"check AAAA.BBBB.SECRETSECRET", exitUsage, "", "check takes no argument \"***\""},
		{"-AAAA.BBBB.SECRETSECRET", exitUsage, "", "unknown flag -***"},
		{"demo AAAA.BBBB.SECRETSECRET", exitUsage, "", "[\"***\" "},
		{"help gateway.prod.toml", exitUsage, "", "no help on \"gateway.prod.toml\""},
		{"-loglevel loud", exitUsage, "", "flag -loglevel: error: log.level: \"loud\" is none of suppress, error, warn, info, debug\n"},
		{"check -loglevel warning", exitUsage, "", "; did you mean warn?\n"},
		{"check -config no-such.toml", exitUsage, "", "no-such.toml: error: there is no such file\n"},
	} {
		o := runCommand(nil, strings.Fields(tc.args)...)
		if o.code != tc.code || !strings.Contains(o.stdout, tc.stdout) || !strings.Contains(o.stderr, tc.stderr) ||
			(o.code == exitOK) != (o.stderr == "") || (o.code == exitOK) == (o.stdout == "") {
			t.Errorf("gateway %s: exit code %d\n%s%s", tc.args, o.code, o.stdout, o.stderr)
		}
	}
	for _, topic := range topicNames {
		if o := runCommand(nil, "help", topic); o.code != exitOK || len(o.stdout) < 20 {
			t.Errorf("gateway help %s: %+v", topic, o)
		}
	}
}

// The token may stand in other settings, by mistake or not: it is printed with none.
func TestConfigHidesTheToken(t *testing.T) {
	for _, environ := range []string{
		"DISCORD_GATEWAY_URL=ws://127.0.0.1:1/?token=AAAA.BBBB.SECRETSECRET",
		"SHARD_STORE_DIRECTORY=/state/AAAA.BBBB.SECRETSECRET",
		"REDIS_URL=redis://AAAA.BBBB.SECRETSECRET@127.0.0.1",
		"REDIS_URL=redis://bob%3AAAAA.BBBB.SECRETSECRET@127.0.0.1",
	} {
		o := runCommand([]string{"DISCORD_TOKEN=AAAA.BBBB.SECRETSECRET", environ}, "config")
		if o.code != exitOK || strings.Contains(o.stdout+o.stderr, "SECRETSECRET") {
			t.Errorf("%s: exit code %d\n%s%s", environ, o.code, o.stdout, o.stderr)
		}
	}
}

func TestExitCode(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{fmt.Errorf("shard 3: %w", &engine.FatalError{Code: 4014}), 14},
		{settingError{errors.New("x")}, 2},
	} {
		if got := exitCode(tc.err, log); got != tc.want {
			t.Errorf("%v: exit code %d, want %d", tc.err, got, tc.want)
		}
	}
}

// TestLogger: JSON where there is no terminal, text if asked for, and nothing
// below the level.
func TestLogger(t *testing.T) {
	problems := config.Problems{
		{Severity: config.Note, Key: "intents", Text: "not set"},
		{Severity: config.Warning, Origin: config.Origin{Kind: config.FromEnvironment, Name: "DISCORD_INTENTS"}, Key: "intents", Text: "GUILD"},
	}
	lines := func(c config.LogConfig) []string {
		var out bytes.Buffer
		log := newLogger(c, config.Secrets{"secret-token"}, &out)
		logProblems(context.Background(), log, problems)
		log.Error("an error")
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	got := lines(config.LogConfig{Level: slog.LevelInfo, Format: config.LogAuto})
	if len(got) != 3 {
		t.Fatalf("%q", got)
	}
	var line struct{ Level, Msg, From string }
	if err := json.Unmarshal([]byte(got[1]), &line); err != nil || line.Level != "WARN" || line.Msg != "intents: GUILD" ||
		line.From != "environment DISCORD_INTENTS" {
		t.Errorf("%s: %v", got[1], err)
	}
	if got := lines(config.LogConfig{Level: slog.LevelWarn, Format: config.LogText}); len(got) != 2 || !strings.Contains(got[0], "level=WARN") {
		t.Errorf("%q", got)
	}
	if got := lines(config.LogConfig{Level: config.LevelSuppress}); len(got) != 1 || got[0] != "" {
		t.Errorf("%q", got)
	}
}

// TestLogHidesSecrets: whatever a line holds, the token is masked in it.
func TestLogHidesSecrets(t *testing.T) {
	const shaped = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"
	for _, format := range []string{config.FormatJSON, config.LogText} {
		var out bytes.Buffer
		log := newLogger(config.LogConfig{Format: format}, config.Secrets{"secret-token"}, &out)
		log.Warn("secret-token", "input", `{"token":"secret-token","x":"`+shaped+`"}`, "reason", errors.New("secret-token"), "wait", 1500*time.Millisecond)
		if got := out.String(); strings.Contains(got, "secret-token") || strings.Contains(got, shaped) || !strings.Contains(got, "1.5s") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func loadConfig(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	cfg, problems := config.Load(config.Sources{Environ: environ})
	if problems.Failed() {
		t.Fatal(problems)
	}
	return cfg
}
