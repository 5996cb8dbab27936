// This file checks the directories, files and addresses of the settings without leaving anything
// behind.

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/resume/file"
	"sluice/sinks/spool"
)

// checkPaths returns what a start would fail for, as far as it can be known from here, and what is
// worth knowing.
func checkPaths(cfg *config.Config, brokers registry) (mistakes, warnings []error) {
	refuse := func(key string, err error) {
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", key, err))
		}
	}
	warn := func(key string, format string, args ...any) {
		warnings = append(warnings, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
	}
	if tls, err := cfg.TLS(); err == nil {
		if _, err := newAPI(cfg, tls); err != nil { // the proxy of the environment
			mistakes = append(mistakes, err)
		}
	}
	if cfg.ShardStore.Type == config.StoreFile {
		const key = "shard_store.directory"
		dir := cfg.ShardStore.Directory
		err := writable(dir)
		if pid, e := file.Owner(dir); e == nil {
			warn(key, "%s is in use by process %d; another process needs a directory of its own", dir, pid)
		}
		if err != nil && memoryInstead(cfg, err) {
			warn(key, "%w; the sessions are kept in memory alone, and the next process can't resume them", err)
		} else {
			refuse(key, err)
		}
	}
	b := brokers.of(cfg)
	if b.server == nil {
		return mistakes, append(warnings, checkListen(cfg, refuse)...)
	}
	if dir := cfg.Spool.Directory; dir != "" {
		if spool.InUse(dir) {
			warn("spool.directory", "%s is in use by another process; each needs a directory of its own", dir)
		}
		refuse("spool.directory", writable(dir))
	}
	if path := cfg.Broker.DeadLetters; path != "" {
		if err := appendable(path); err != nil && cfg.Origin("broker.dead_letters").Kind == config.FromDefault {
			warn("broker.dead_letters", "%w; events that the broker refuses for good would be lost", err)
		} else {
			refuse("broker.dead_letters", err)
		}
	}
	if sink, err := b.sink(cfg, nil, slog.New(slog.DiscardHandler)); err != nil {
		mistakes = append(mistakes, err)
	} else {
		sink.Close()
	}
	return mistakes, append(warnings, checkListen(cfg, refuse)...)
}

// memoryInstead reports whether sessions are kept in memory, since no file can be written and none
// is asked for.
func memoryInstead(cfg *config.Config, err error) bool {
	return (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) &&
		cfg.Origin("shard_store.type").Kind == config.FromDefault && cfg.Origin("shard_store.directory").Kind == config.FromDefault
}

// writable reports why a directory cannot be written to, or made. What it tries is removed.
func writable(dir string) error {
	at := filepath.Clean(dir)
	for {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is a file, not a directory", at)
		case err == nil:
			return tryIn(dir, at)
		case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			at = filepath.Dir(at)
		default:
			return fmt.Errorf("%s cannot be used: %w", dir, cause(err))
		}
	}
}

// tryIn makes something in the directory at, which is dir or the nearest one above it.
func tryIn(dir, at string) error {
	if filepath.Clean(dir) != at {
		made, err := os.MkdirTemp(at, ".check-*")
		if err != nil {
			return fmt.Errorf("%s cannot be made in %s: %w", dir, at, cause(err))
		}
		return os.Remove(made)
	}
	f, err := os.CreateTemp(at, ".check-*")
	if err != nil {
		return fmt.Errorf("nothing can be written to %s: %w", dir, cause(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// appendable reports why a file cannot be appended to, or made.
func appendable(path string) error {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return fmt.Errorf("%s is a named pipe, which can wait for a reader for ever; it should be a file", path)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		return f.Close()
	}
	dir := filepath.Dir(path)
	if info, e := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || e != nil || !info.IsDir() {
		if e != nil {
			return fmt.Errorf("%s cannot be made: there is no directory %s", path, dir)
		}
		return fmt.Errorf("nothing can be written to %s: %w", path, cause(err))
	}
	if err := tryIn(dir, dir); err != nil {
		return fmt.Errorf("%s cannot be made: %w", path, err)
	}
	return nil
}

// cause returns the error without the path that it names.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// checkListen tries the addresses to listen at for a moment. That another process has one may be
// the one that is to be restarted.
func checkListen(cfg *config.Config, refuse func(string, error)) (warnings []error) {
	for _, s := range listenAddresses(cfg) {
		l, err := net.Listen("tcp", s.value)
		switch {
		case err == nil:
			l.Close()
		case admin.InUse(err):
			warnings = append(warnings, fmt.Errorf("%s: %w", s.key, err))
		case s.key == "debug.address":
			refuse(s.key, err)
		default:
			e := &admin.ListenError{Setting: s.key, Err: err}
			refuse(s.key, errors.New(strings.TrimPrefix(plain(e), s.key+": ")))
		}
	}
	return warnings
}
