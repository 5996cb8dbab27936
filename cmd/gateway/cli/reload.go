// This file changes the settings of a running gateway.

package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/sinks"
)

// errReload is the error of a reload that has changed nothing.
var errReload = errors.New("nothing is changed: the settings have errors")

// reloader changes the settings of a running gateway. Its methods may be called by any goroutine.
type reloader struct {
	sources config.Sources
	cfg     *config.Config // as the gateway began
	level   *slog.LevelVar
	log     *slog.Logger

	mu     sync.Mutex
	engine *engine.Engine // nil: it is not made yet
	member *membership    // nil: this process is in no fleet, or has not joined it
}

// newReloader returns what reads the settings from the sources again.
func newReloader(sources config.Sources, cfg *config.Config, level *slog.LevelVar, log *slog.Logger) *reloader {
	if err := cfg.LoadTLS(); err != nil {
		log.Debug("certificates are not loaded", "error", err) // run says so
	}
	return &reloader{sources: sources, cfg: cfg, level: level, log: log}
}

// await has the settings read again at each of the signals until ctx is done.
func (r *reloader) await(ctx context.Context, asked <-chan os.Signal) {
	for {
		select {
		case <-asked:
			r.Reload(ctx) // logs
		case <-ctx.Done():
			return
		}
	}
}

// begin gives the reloader the engine, which may have been made by settings that have changed since, and this process as a member
// of a fleet, if it is one.
func (r *reloader) begin(e *engine.Engine, m *membership) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine, r.member = e, m
	now := r.cfg.Current()
	if now == r.cfg {
		return nil
	}
	e.SetEvents(eventSet(now.Events))
	e.SetTLS(r.apiTLS())
	return e.SetPresence(now.Presence, false)
}

// apiTLS returns the configuration in force for REST and gateway.
func (r *reloader) apiTLS() *tls.Config {
	return r.cfg.Renewed("api", &tls.Config{MinVersion: tls.VersionTLS12})
}

// Reload reads the settings again from where they came from, puts those into force that can be changed
// now, and returns what has changed and what needs a restart, a line for each. With an error nothing is
// changed; the lines then say what is wrong. All of it is logged, too.
func (r *reloader) Reload(ctx context.Context) (lines []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, problems := config.Load(r.sources)
	refuse := func(line string) {
		lines = append(lines, line)
		r.log.Error("reload: nothing is changed", "error", line)
	}
	if problems.Failed() {
		for _, p := range problems {
			if p.Severity == config.Error {
				refuse(p.String())
			}
		}
		return lines, errReload
	}
	before := r.cfg.Current()
	after := before.With(next)
	if err := after.LoadTLS(); err != nil { // of the tables that are used, whatever next would use
		refuse(next.Secrets().Redact(err.Error()))
		return lines, errReload
	}
	changes := before.Changes(next)
	shows := changed(changes, "presence")
	if r.engine != nil && shows {
		err := r.engine.SetPresence(after.Presence, true)
		switch {
		case errors.Is(err, sinks.ErrQueueFull):
			r.log.Warn("the presence is not sent to every running session", "error", err)
		case err != nil:
			refuse("presence: " + err.Error())
			return lines, errReload
		}
	}

	logProblems(ctx, r.log, problems)
	r.cfg.Replace(after)
	if r.engine != nil {
		r.engine.SetTLS(r.apiTLS())
		if changed(changes, "events") {
			r.engine.SetEvents(eventSet(after.Events))
		}
	}
	var later []string
	for _, c := range changes {
		from, to := c.Old, c.New
		switch {
		case !c.Reload:
			later = append(later, c.Key+": changed, and needs a restart")
			r.log.Warn("reload: the setting needs a restart; it is left unchanged", "setting", c.Key)
			continue
		case from == to: // but for what is masked
			lines = append(lines, c.Key+": changed")
			r.log.Info("reload: setting changed", "setting", c.Key)
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s, was %s", c.Key, to, from))
		r.log.Info("reload: setting changed", "setting", c.Key, "old", from, "new", to)
	}
	for _, key := range before.RenewedFiles(after) {
		lines = append(lines, key+": other certificates, for connections from now on")
		r.log.Info("reload: other certificates", "setting", key)
	}
	r.level.Set(after.Log.Level) // last: what has changed is logged as it was
	r.log.Info("reloaded", "changed", len(lines), "need_restart", len(later))
	return append(lines, later...), nil
}

// changed reports whether a setting is among the changes.
func changed(changes []config.Change, key string) bool {
	for _, c := range changes {
		if c.Key == key {
			return true
		}
	}
	return false
}

// SetLogLevel changes log.level until the next reload, which goes by the settings again.
func (r *reloader) SetLogLevel(name string) error {
	level, err := config.ParseLevel(name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Current()
	with := now.With(now)
	with.Log.Level = level
	r.cfg.Replace(with)
	r.log.Info("log level changed", "level", name)
	r.level.Set(level)
	return nil
}

// Reconnect has a shard reconnect: how is reconnect, resume or identify.
func (r *reloader) Reconnect(ctx context.Context, shard int, how string) error {
	kinds := map[string]engine.Reconnect{
		"reconnect": engine.ReconnectAny, "resume": engine.ReconnectResume, "identify": engine.ReconnectIdentify,
	}
	kind, ok := kinds[how]
	if !ok {
		return fmt.Errorf("a shard can reconnect, resume or identify, not %.40q", how)
	}
	r.mu.Lock()
	e := r.engine
	r.mu.Unlock()
	if e == nil {
		return errors.New("the shards have not been started yet")
	}
	return e.Reconnect(ctx, shard, kind)
}
