package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/status"
)

// Settings with which a bot cannot be resharded are named.
func TestReshardRefused(t *testing.T) {
	for want, set := range map[string]func(*config.Config){
		"shards.ids is set":                    func(c *config.Config) { c.Shards.IDs = []int{0} },
		"shard_store.compat:":                  func(c *config.Config) { c.ShardStore.Compat = true },
		"the shards have not been started yet": func(c *config.Config) { c.Shards.Auto, c.Shards.IDs = true, []int{} },
	} {
		cfg := new(config.Config)
		set(cfg)
		if _, err := (&reloader{cfg: cfg}).Reshard(t.Context(), 32, true); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// slow is a process that takes long for another shard count.
type slow struct {
	process
	began time.Time
	takes time.Duration
}

func (s *slow) Reshard(ctx context.Context, shards int, begin bool) ([]string, error) {
	s.began = time.Now()
	return nil, nil
}

func (s *slow) CallOff(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *slow) Status(context.Context, status.Query) (*status.Status, error) {
	d := &status.Status{Reshard: &status.Reshard{Stage: "connecting", From: 4, To: 8}}
	d.Shards.Count = 4
	if time.Since(s.began) >= s.takes {
		d.Reshard.Stage, d.Shards.Count = "", 8
	}
	return d, nil
}

// It is followed for as long as it takes, which is longer than what is asked may, or until the command is interrupted.
func TestReshardFollowed(t *testing.T) {
	follow := func(ctx context.Context) (string, error) {
		var out bytes.Buffer
		err := ask(ctx, command{name: "reshard", args: []string{"8"}, yes: true}, &slow{takes: 20 * time.Minute}, &out)
		return out.String(), err
	}
	synctest.Test(t, func(t *testing.T) {
		if text, err := follow(t.Context()); err != nil || !strings.HasPrefix(text, "connecting: 0 of 8 ready\n8 shards are in force; ") {
			t.Errorf("%v, with %q", err, text)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if text, err := follow(ctx); err == nil || !strings.HasPrefix(err.Error(), "interrupted; ") {
			t.Errorf("interrupted: %v, with %q", err, text)
		}
		if err := ask(t.Context(), command{name: "reshard", cancel: true}, new(slow), new(bytes.Buffer)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer: %v", err)
		}
	})
}
