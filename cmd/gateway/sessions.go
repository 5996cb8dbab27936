// This file is `gateway sessions`.

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/resume"
)

// sessions lists what is stored, or forgets it.
func sessions(ctx context.Context, cfg *config.Config, forget, yes bool, stdin io.Reader, stdout, stderr io.Writer) int {
	if cfg.ShardStore.Type != config.StoreFile {
		fmt.Fprintf(stderr, "error: shard_store.type: nothing is stored with %q; set it to \"file\"\n", cfg.ShardStore.Type)
		return exitUsage
	}
	dir := cfg.ShardStore.Directory
	state, err := resume.ReadFile(dir)
	if err == nil && !forget {
		listSessions(stdout, state, resume.Fingerprint(cfg.Token.Reveal()))
		return exitOK
	}
	if err == nil {
		err = forgetSessions(ctx, dir, len(state.Checkpoints), yes, stdin, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: shard_store.directory: %v\n", err)
		return exitFailure
	}
	return exitOK
}

func listSessions(w io.Writer, state resume.State, bot uint64) {
	if len(state.Checkpoints) == 0 {
		fmt.Fprintln(w, "no sessions are stored")
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "shard\tof\tsession\tseq\tage\t")
	for _, shard := range slices.Sorted(maps.Keys(state.Checkpoints)) {
		c := state.Checkpoints[shard]
		note := ""
		if c.Bot != bot {
			note = "of another token"
		}
		fmt.Fprintf(table, "%d\t%d\t%s\t%d\t%s\t%s\n", shard, c.Shards, maskSession(c.ID), c.Seq, time.Since(c.At).Round(time.Second), note)
	}
	table.Flush()
}

// maskSession leaves of a session's id what tells it from others: with the token, the whole
// would let somebody resume it.
func maskSession(id string) string { return id[:min(4, len(id))] + "…" }

// forgetSessions removes all sessions from the directory, if somebody says so.
func forgetSessions(ctx context.Context, dir string, n int, yes bool, stdin io.Reader, stdout io.Writer) error {
	if n == 0 {
		fmt.Fprintln(stdout, "no sessions are stored")
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
	store, err := resume.OpenFile(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer store.Close()
	state, err := store.Load(ctx)
	if err != nil {
		return err
	}
	for shard := range state.Checkpoints {
		state.Checkpoints[shard] = resume.Checkpoint{}
	}
	if err := store.Save(ctx, state); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s forgotten\n", plural(len(state.Checkpoints), "session"))
	return nil
}
