// This file serves what an operator asks a running gateway for.

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/resume/file"
)

// serveAdmin serves the parts at the addresses and the socket of the settings.
func serveAdmin(cfg *config.Config, parts admin.Options, log *slog.Logger) (*admin.Server, error) {
	parts.Address, parts.Hosts = cfg.HTTP.Address, cfg.HTTP.Hosts
	parts.Token = func() string { return cfg.Current().HTTP.Token.Reveal() }
	parts.PrometheusAddress, parts.PrometheusEndpoint = cfg.Prometheus.Address, cfg.Prometheus.Endpoint
	if cfg.OneListener() {
		parts.PrometheusAddress = parts.Address
	}
	parts.Log = log
	if dir := cfg.ShardStore.Directory; dir != "" {
		if err := os.MkdirAll(dir, 0o700); err == nil {
			parts.Socket = filepath.Join(dir, admin.SocketName)
		} else {
			log.Info("there is no control socket: gateway status and the like do not reach this process", "setting", "shard_store.directory", "error", err)
		}
	}
	s, err := admin.Listen(parts)
	if err != nil {
		return nil, settingError{err}
	}
	return s, nil
}

// listenAddresses are those of the settings at which a start listens, by their keys.
func listenAddresses(cfg *config.Config) (list []setting) {
	for _, s := range []setting{{"debug.address", cfg.Debug.Address}, {"http.address", cfg.HTTP.Address}, {"identify.address", cfg.Identify.Address}, {"prometheus.address", cfg.Prometheus.Address}} {
		if s.value != "" && (s.key != "prometheus.address" || !cfg.OneListener()) {
			list = append(list, s)
		}
	}
	return list
}

type setting struct{ key, value string }

// reach returns a client of the process that is meant: at the address, or with the state directory
// of the settings.
func (cmd *command) reach(cfg *config.Config) (*admin.Client, error) {
	o := admin.ClientOptions{Address: cmd.address, Token: cfg.HTTP.Token.Reveal()}
	if cmd.address == "" {
		o.Socket = filepath.Join(cfg.ShardStore.Directory, admin.SocketName)
	}
	if cmd.tokenFile != "" {
		token, err := config.ReadHTTPToken(cmd.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("-token-file: %w", err)
		}
		o.Token = token.Reveal()
	}
	c, err := admin.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("-address: %w", err)
	}
	return c, nil
}

// unreached says what an error of a client means for who asked.
func (cmd *command) unreached(cfg *config.Config, err error) error {
	switch {
	case err == nil:
		return nil
	case cmd.address != "":
		return notGateway(err)
	}
	dir := cfg.ShardStore.Directory
	if at, e := filepath.Abs(dir); e == nil {
		dir = at
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is for the user of the process alone, and for root: run this as that user, or use -address with its http.address", filepath.Join(dir, admin.SocketName))
	case !errors.Is(err, admin.ErrNobody) && !errors.Is(err, syscall.ENOTDIR):
		return err
	}
	if pid, err := file.Owner(dir); err == nil {
		return fmt.Errorf("process %d has shard_store.directory %s, and does not serve %s there: it is of an earlier version, or stops", pid, dir, admin.SocketName)
	}
	return fmt.Errorf("no gateway runs with shard_store.directory %s; -config names its settings, -address its http.address", dir)
}

// notGateway adds to what an address has answered that it is probably none of a gateway.
func notGateway(err error) error {
	var said *admin.StatusError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w; it does not serve TLS: use http:// in -address", err)
	case strings.Contains(err.Error(), "readLoopPeekFail"): // of net/http, with no cause
		return errors.New("it speaks before it is asked, and so is no HTTP server; -address must be http.address of a gateway")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "malformed HTTP"),
		errors.As(err, &said) && (said.Code < 400 || said.Code == 404 || said.Code == 405 || said.Code == 426):
		return fmt.Errorf("%w; -address must be http.address of a gateway", err)
	}
	return err
}
