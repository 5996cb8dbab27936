// This file tries whether a start would succeed, for the process that hands over to it.

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/resume/file"
)

// trialVariable has `gateway check` try a start, too. Its value is the debug.address that the
// process before has. A version that does not know the variable checks the settings alone.
const trialVariable = "SLUICE_UPGRADE_FROM"

// heldVariable has the other addresses that the process before has, with commas between them.
const heldVariable = "SLUICE_UPGRADE_HELD"

// brokerTrial bounds the login to a broker. One that is unavailable is waited for at the start.
const brokerTrial = 5 * time.Second

// trialOf returns the addresses of the process that hands over; ok is false if none asks.
func trialOf(environ []string) (held []string, ok bool) {
	for _, e := range environ {
		switch name, value, _ := strings.Cut(e, "="); name {
		case trialVariable:
			held, ok = append(held, value), true
		case heldVariable:
			held = append(held, strings.Split(value, ",")...)
		}
	}
	return held, ok
}

// heldAddresses are those of this process for the variables.
func heldAddresses(cfg *config.Config) []string {
	var others []string
	for _, s := range listenAddresses(cfg) {
		if s.key != "debug.address" {
			others = append(others, s.value)
		}
	}
	return []string{trialVariable + "=" + cfg.Debug.Address, heldVariable + "=" + strings.Join(others, ",")}
}

// tryStart opens what a start opens, as far as that can be done while another process has it,
// and closes it again.
func tryStart(ctx context.Context, cfg *config.Config, brokers registry, held []string) error {
	tls, err := cfg.TLS()
	if err != nil {
		return err
	}
	if _, err := newAPI(cfg, tls); err != nil {
		return err
	}
	if cfg.ShardStore.Type == config.StoreFile {
		dir := cfg.ShardStore.Directory
		if pid, err := file.Owner(dir); err == nil && pid != os.Getppid() {
			return fmt.Errorf("shard_store.directory: process %d uses %s", pid, dir)
		}
		if err := tryDirectory(dir, 64<<10); err != nil {
			return fmt.Errorf("shard_store.directory: %w", err)
		}
	}
	if cfg.Spool.Directory != "" && brokers.of(cfg).server != nil {
		// With a full disk it starts, and waits for the broker.
		if err := tryDirectory(cfg.Spool.Directory, 0); err != nil {
			return fmt.Errorf("spool.directory: %w", err)
		}
	}
	for _, s := range listenAddresses(cfg) {
		if err := tryListen(s.value, held); err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
	}
	return brokers.try(ctx, cfg)
}

// tryDirectory writes a file of size bytes to the disk, in a directory that is made if need be,
// and removes it.
func tryDirectory(dir string, size int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".upgrade-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, size))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// tryListen listens on the address for a moment, unless the process before has its port.
func tryListen(address string, held []string) error {
	if slices.Contains(held, address) {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l.Close()
	}
	_, port, _ := net.SplitHostPort(address)
	for _, h := range held {
		if _, p, _ := net.SplitHostPort(h); p != "" && p == port {
			return nil // as of :6060 and 127.0.0.1:6060
		}
	}
	return err
}

// try logs in to the brokers of the settings. That one is unavailable is an error only if
// broker.required is set.
func (r registry) try(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, brokerTrial)
	defer cancel()
	for b := range r.servers(cfg) {
		if b.Name != cfg.Broker.Type {
			if _, err := b.check(ctx, cfg); isMistake(err) {
				return err
			}
			continue
		}
		sink, err := b.open(ctx, cfg, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		if err := sink.Close(); err != nil {
			return err
		}
	}
	return nil
}
