// This file tests how much is logged.

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	stdlog "log"
	"log/slog"
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
	"sluice/internal/loglimit"
	"sluice/sinks"
	"sluice/sinks/stdio"
)

// A bot that sends 300,000 bad commands does not fill the disk; all of them are counted, and
// the last line is why the process ends.
func TestBadCommandsAreCounted(t *testing.T) {
	const commands = 300_000
	var out bytes.Buffer
	log := newLogger(config.LogConfig{Level: slog.LevelInfo}, nil, &out)
	bad := strings.Repeat(`{"shard":0,"packet":{"op":99,"d":{}}}`+"\n{]\n", commands/2)
	refuse := func(sinks.Command) error { return errors.New("refused") }
	if err := stdio.ReadCommands(strings.NewReader(bad), refuse, nil, log); err != nil {
		t.Fatal(err)
	}
	exitCode(errors.New("the end"), log)
	if n := out.Len(); n > 1<<20 {
		t.Errorf("%d bytes are logged", n)
	}
	total, last := 0, ""
	for line := range strings.Lines(out.String()) {
		var l struct {
			Msg     string
			Omitted int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if last = l.Msg; l.Msg == loglimit.Omitted {
			total += l.Omitted
		} else {
			total++
		}
	}
	if total != commands+1 || last != "the end" {
		t.Errorf("%d lines are logged or counted, want %d; the last is %q", total, commands+1, last)
	}
}

// A value that a peer has made long is cut, and no part of a secret is left at its end.
func TestLongValuesAreCut(t *testing.T) {
	const secret = "MTk4NjIyNDgzNDcxOTI1MjQ4.secret.part"
	for _, size := range []int{0, 10, maxLogged - 3, maxLogged, 3 * maxLogged, 4*maxLogged - len(secret)/2, 1 << 20} {
		for _, value := range []any{strings.Repeat("é", size/2) + secret, errors.New(strings.Repeat(secret, size/len(secret)+1))} {
			var out bytes.Buffer
			newLogger(config.LogConfig{Level: slog.LevelInfo}, config.Secrets{secret}, &out).Info("a line", "error", value)
			if strings.Contains(out.String(), "MTk4") || strings.Contains(out.String(), "part") {
				t.Errorf("%d bytes: a secret is logged: %.200q", size, out.String())
			}
			if out.Len() > maxLogged+200 {
				t.Errorf("%d bytes: %d bytes are logged", size, out.Len())
			}
		}
	}
}

// What libraries print by the package log is a line of the log, with secrets masked.
func TestLibrariesLog(t *testing.T) {
	var out bytes.Buffer
	toLog(newLogger(config.LogConfig{Level: slog.LevelInfo}, config.Secrets{"HUNTER2"}, &out))
	defer stdlog.SetOutput(io.Discard)
	stdlog.Printf("Unsolicited response %q", "HUNTER2\r\n")
	var l struct{ Level, Msg string }
	if err := json.Unmarshal(out.Bytes(), &l); err != nil || l.Level != "WARN" || !strings.HasPrefix(l.Msg, "Unsolicited response") || strings.Contains(l.Msg, "HUNTER2") {
		t.Errorf("%v: %s", err, out.Bytes())
	}
}

// The level changes for the loggers that there are, those with attributes of their own included.
func TestLogLevelChanges(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	log := newLeveledLogger(config.LogText, &level, nil, &out)
	shard := log.With("shard", 3)
	for _, tt := range []struct {
		level slog.Level
		lines int
	}{{slog.LevelInfo, 0}, {slog.LevelDebug, 2}, {config.LevelSuppress, 0}, {slog.LevelDebug, 2}} {
		level.Set(tt.level)
		out.Reset()
		log.Debug("a line")
		shard.Debug("a line")
		if n := strings.Count(out.String(), "level=DEBUG"); n != tt.lines {
			t.Errorf("at %v: %q", tt.level, out.String())
		}
	}
}
