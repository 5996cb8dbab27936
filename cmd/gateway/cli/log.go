// This file makes the logger.

package cli

import (
	"bytes"
	"context"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"strings"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/internal/loglimit"
	"sluice/internal/logwriter"
)

// logBuffer bounds the log lines that wait for who reads standard error.
const logBuffer = 1 << 20

// openLog returns newLogger's logger, and what it writes to, which does not block when nobody
// reads w: a full pipe must stop neither the events nor SIGTERM. The last lines are written by
// its Close. Each line goes to the copies, too, which must not block.
//
// level decides what is logged, and secrets, unless nil, what is masked; both may change.
func openLog(c config.LogConfig, level slog.Leveler, secrets func() config.Secrets, w io.Writer, copies ...io.Writer) (*slog.Logger, *logwriter.Writer) {
	if c.Format == config.LogAuto && isTerminal(w) {
		c.Format = config.LogText
	}
	out := logwriter.New(w, logBuffer, func(dropped int) []byte {
		var line bytes.Buffer
		newLeveledLogger(c.Format, c.Level, secrets, &line).Warn(loglimit.Omitted, "omitted", dropped, "reason", "standard error is not read, or too slowly")
		return line.Bytes()
	})
	return newLeveledLogger(c.Format, level, secrets, io.MultiWriter(append([]io.Writer{out}, copies...)...)), out
}

// toLog has in the log what libraries print by the standard library's package log: net/http and the
// one of the metrics do. It is the process's, as standard error is.
func toLog(log *slog.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelWarn).Writer())
}

// newLogger returns a logger that writes to w: as text if w is a terminal and
// as JSON otherwise, unless the format is set. What is a secret, or looks like
// a token, is masked wherever it stands: a bot's bad command is logged in part, and a broker may
// quote the login that it refuses. Of a message
// that comes too often lines are left out, and counted: see loglimit. A line with an error says
// what somebody can do about it, where that is known.
func newLogger(c config.LogConfig, secrets config.Secrets, w io.Writer) *slog.Logger {
	return newLeveledLogger(c.Format, c.Level, func() config.Secrets { return secrets }, w)
}

// newLeveledLogger is newLogger with a level and secrets that may change.
func newLeveledLogger(format string, level slog.Leveler, secrets func() config.Secrets, w io.Writer) *slog.Logger {
	if secrets == nil {
		secrets = func() config.Secrets { return nil }
	}
	text := format == config.LogText || format == config.LogAuto && isTerminal(w)
	options := &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch v := a.Value.Any().(type) {
			case string:
				a.Value = slog.StringValue(printable(v, secrets()))
			case error:
				a.Value = slog.StringValue(printable(plain(v), secrets()))
			case time.Duration:
				if !text { // JSON would have nanoseconds
					a.Value = slog.StringValue(v.String())
				}
			}
			return a
		},
	}
	if text {
		return slog.New(loglimit.New(remedies{slog.NewTextHandler(w, options)}))
	}
	return slog.New(loglimit.New(remedies{slog.NewJSONHandler(w, options)}))
}

// maxLogged bounds a value in the log, which may come from a peer.
const maxLogged = 4 << 10

// printable returns the text without secrets, and its beginning if it is long.
func printable(text string, secrets config.Secrets) string {
	if len(text) <= maxLogged {
		return secrets.Redact(text)
	}
	text = secrets.Redact(text[:min(len(text), 4*maxLogged)])
	// The end of it may be a part of a secret, which is not known by that.
	text = text[:min(maxLogged, max(0, len(text)-max(256, secrets.Longest())))]
	return strings.ToValidUTF8(text, "") + "…"
}

// lastLog returns the logger for the line that says why the process ends, which is the last and
// is never left out. What was left out of the log before is counted first.
func lastLog(log *slog.Logger) *slog.Logger {
	h, ok := log.Handler().(*loglimit.Handler)
	if !ok {
		return log
	}
	h.Flush()
	return slog.New(h.Unlimited())
}

// isTerminal reports whether w is a character device, as a terminal is. The
// null device is one too: what is written there may have any form.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// logProblems logs what is to be said about settings that are good enough to
// start with.
func logProblems(ctx context.Context, log *slog.Logger, problems config.Problems) {
	for _, p := range problems {
		level := slog.LevelInfo
		if p.Severity == config.Warning {
			level = slog.LevelWarn
		}
		text := p.Text
		if p.Key != "" {
			text = p.Key + ": " + text
		}
		if p.Origin.Kind == config.FromDefault {
			log.Log(ctx, level, text)
		} else {
			log.Log(ctx, level, text, "from", p.Origin.String())
		}
	}
}
