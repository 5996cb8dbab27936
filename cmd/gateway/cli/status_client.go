// This file is how `gateway status` and `gateway health` reach a running process.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"syscall"

	"sluice/cmd/gateway/config"
	"sluice/resume/file"
)

// controlSocket is the socket of a process in its shard_store.directory.
const controlSocket = "control.sock"

// maxAnswer bounds an answer: a document with 100,000 shards is 20 MB.
const maxAnswer = 64 << 20

// client asks a running process.
type client interface {
	// get returns the answer to a path, and its HTTP status code.
	get(ctx context.Context, path string) (body []byte, code int, err error)
}

// newClient returns a client of the process at the address, or of the one that has the directory of
// the settings.
func newClient(cfg *config.Config, address string) client {
	if address != "" {
		return httpClient{network: "tcp", address: address, host: address}
	}
	dir := cfg.ShardStore.Directory
	return httpClient{network: "unix", address: filepath.Join(dir, controlSocket), host: "localhost", dir: dir}
}

type httpClient struct {
	network, address, host string
	dir                    string // of the socket
}

func (c httpClient) get(ctx context.Context, path string) ([]byte, int, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, c.network, c.address)
		},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.host+path, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("-address: %q is not host:port", c.address)
	}
	answer, err := transport.RoundTrip(r) // redirects are not followed
	if err != nil {
		return nil, 0, c.explain(ctx, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, 0, c.explain(ctx, err)
	case len(body) > maxAnswer:
		return nil, 0, fmt.Errorf("%s answers with more than %d bytes", c.address, maxAnswer)
	}
	return body, answer.StatusCode, nil
}

// explain says what an error means for who asked.
func (c httpClient) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", c.address, context.Cause(ctx))
	}
	if c.dir == "" {
		return fmt.Errorf("no gateway answers at %s: %w; -address takes http.address of the process", c.address, rootCause(err))
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%s: %w", c.address, rootCause(err))
	}
	if pid, err := file.Owner(c.dir); err == nil {
		return fmt.Errorf("process %d has shard_store.directory %s, and does not serve %s there: it is of an earlier version, or stops", pid, c.dir, controlSocket)
	}
	return fmt.Errorf("no gateway runs with shard_store.directory %s; -config names its settings, -address its http.address", c.dir)
}

// rootCause returns what an error of the network comes from, without the addresses.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call syscall.Errno
	if errors.As(err, &call) {
		return call
	}
	return err
}
