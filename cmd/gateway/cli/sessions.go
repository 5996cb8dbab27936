// This file is `gateway sessions`.

package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/resume"
	"sluice/resume/file"
)

// sessions lists what is stored, or forgets it.
func sessions(ctx context.Context, cfg *config.Config, forget, yes bool, stdin io.Reader, stdout, stderr io.Writer) int {
	if cfg.Shards.Auto {
		fmt.Fprintln(stderr, `error: shards.ids: with "auto" the fleet has the sessions; gateway status shows those of a member`)
		return exitUsage
	}
	setting := "shard_store.directory"
	switch cfg.ShardStore.Type {
	case config.StoreMemory:
		fmt.Fprintf(stderr, "error: shard_store.type: nothing is persisted with %q; set it to %q or %q\n", config.StoreMemory, config.StoreFile, config.StoreRedis)
		return exitUsage
	case config.StoreRedis:
		setting = "redis.urls"
	}
	state, err := readStore(ctx, cfg)
	for _, u := range state.Unreadable[:min(len(state.Unreadable), 10)] {
		fmt.Fprintf(stderr, "warning: %s: a persisted session cannot be read: %v\n", setting, u)
	}
	if err == nil && !forget {
		listSessions(stdout, state, sessionsOf(cfg), oldSessionsOf(cfg))
		return exitOK
	}
	if err == nil {
		err = forgetSessions(ctx, cfg, len(state.Checkpoints), yes, stdin, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %s\n", cfg.Secrets().Redact(explain(fmt.Errorf("%s: %w", setting, err))))
		return exitFailure
	}
	return exitOK
}

// readStore returns what is stored, also while a process has it.
func readStore(ctx context.Context, cfg *config.Config) (resume.State, error) {
	if cfg.ShardStore.Type == config.StoreFile {
		return file.Read(cfg.ShardStore.Directory)
	}
	store, err := openStore(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return resume.State{}, err
	}
	defer store.Close()
	state, err := store.Load(ctx)
	if err != nil && !neverConnected(err) && !isMistake(err) {
		err = cmp.Or(notRedis(ctx, cfg), err)
	}
	return state, err
}

func listSessions(w io.Writer, state resume.State, bot, oldBot uint64) {
	if len(state.Checkpoints) == 0 {
		fmt.Fprintln(w, "no sessions are persisted")
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "shard\tof\tsession\tseq\tage\t")
	for _, shard := range slices.Sorted(maps.Keys(state.Checkpoints)) {
		c := state.Checkpoints[shard]
		of, age, note := strconv.Itoa(c.Shards), "?", ""
		if c.Shards == 0 {
			of = "?"
		}
		if !c.At.IsZero() {
			age = time.Since(c.At).Round(time.Second).String()
		}
		switch {
		case c.Bot == 0 && c.ID != "":
			note = "of another gateway"
		case c.Bot != bot && c.Bot != oldBot:
			note = "of another token or server"
		case c.Gaps[0].Session != "":
			note = "the loss of " + maskSession(c.Gaps[0].Session) + " is to be reported"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%d\t%s\t%s\n", shard, of, maskSession(c.ID), c.Seq, age, note)
	}
	table.Flush()
}

// maskSession leaves of a session's id what distinguishes it from others: with the token, the whole
// would let somebody resume it.
func maskSession(id string) string { return id[:min(4, len(id))] + "…" }

// forgetSessions removes all sessions from the store, if somebody says so.
func forgetSessions(ctx context.Context, cfg *config.Config, n int, yes bool, stdin io.Reader, stdout io.Writer) error {
	if n == 0 {
		fmt.Fprintln(stdout, "no sessions are persisted")
		return nil
	}
	if !yes {
		fmt.Fprintf(stdout, "forget %s? The shards will identify. [y/N] ", plural(n, "session"))
		answer, _ := bufio.NewReader(stdin).ReadString('\n')
		if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
			fmt.Fprintln(stdout, "kept")
			return nil
		}
	}
	store, err := openStore(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer store.Close()
	if n, err = resume.Forget(ctx, store); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s forgotten\n", plural(n, "session"))
	return nil
}
