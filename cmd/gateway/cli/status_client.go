// This file is how `gateway status` and `gateway health` ask a running process.

package cli

import (
	"context"
	"errors"
	"io"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
)

// maxAnswer bounds an answer: a document with 100,000 shards is 20 MB.
const maxAnswer = 64 << 20

// client asks a running process.
type client interface {
	// get returns the answer to a path, and its HTTP status code.
	get(ctx context.Context, path string) (body []byte, code int, err error)
}

// asker is the client of a command.
type asker struct {
	cmd    *command
	cfg    *config.Config
	client *admin.Client
}

func (a asker) get(ctx context.Context, path string) ([]byte, int, error) {
	answer, err := a.client.Get(ctx, path)
	if refused := (*admin.StatusError)(nil); errors.As(err, &refused) {
		return []byte(refused.Text + "\n"), refused.Code, nil
	}
	if err != nil {
		return nil, 0, errors.New(a.cfg.Secrets().Redact(plain(a.cmd.unreached(a.cfg, err))))
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxAnswer))
	return body, 200, err
}

// look runs status and health.
func look(ctx context.Context, cmd command, cfg *config.Config, stdout, stderr io.Writer) int {
	c, err := cmd.reach(cfg)
	if err != nil {
		printError(stderr, cfg, err)
		return exitFailure
	}
	defer c.Close()
	if cmd.name == "health" {
		return health(ctx, asker{&cmd, cfg, c}, cmd.ready, stdout, stderr)
	}
	return showStatus(ctx, asker{&cmd, cfg, c}, cmd.json, stdout, stderr)
}
