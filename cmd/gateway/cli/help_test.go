// This file tests what help prints.

package cli

import (
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
	"sluice/wire"
)

// A terminal of 80 columns has room for the usage and every topic that is not a table.
func TestHelpFits(t *testing.T) {
	for _, topic := range append([]string{""}, topicNames...) {
		if topic == "settings" || topic == "events" {
			continue
		}
		for line := range strings.Lines(runCommand(nil, append([]string{"help"}, strings.Fields(topic)...)...).stdout) {
			if n := columnsIn(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("help %s: %d columns: %s", topic, n, line)
			}
		}
	}
}

// So it is with the events, whose names are not cut.
func TestEventsFit(t *testing.T) {
	for line := range strings.Lines(eventsText(80)) {
		if n := columnsIn(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if words := strings.Join(strings.Fields(eventsText(1)), " "); words != strings.Join(strings.Fields(eventsText(0)), " ") {
		t.Errorf("what is narrow says something else:\n%s", eventsText(1))
	}
	if strings.Count(eventsText(0), "\n") != len(wire.EventNames()) {
		t.Error("what is no terminal gets more than a line for an event")
	}
}

// demo -h and help demo are one text, in which every flag is.
func TestDemoHelp(t *testing.T) {
	want := runCommand(nil, "help", "demo")
	for _, args := range []string{"demo -h", "demo --help", "demo -rate 3 -help"} {
		if got := runCommand(nil, strings.Fields(args)...); got != want || got.code != exitOK {
			t.Errorf("%s: %+v, want %+v", args, got, want)
		}
	}
	for _, text := range []string{"-for duration", "(default 0s: until Ctrl-C)", "-seed n", "(default 1)", "-rate n", "(default 5)", "-compression name", "(default zstd-stream)"} {
		if !strings.Contains(want.stdout, "  "+text) && !strings.Contains(want.stdout, " "+text+"\n") {
			t.Errorf("%q is missing", text)
		}
	}
	for _, args := range []string{"demo -rte 3", "demo -for long", "demo now", "demo -compression gzip"} {
		if got := runCommand(nil, strings.Fields(args)...); got.code != exitUsage || got.stdout != "" || !strings.HasPrefix(got.stderr, "gateway demo: ") ||
			!strings.HasSuffix(got.stderr, "see gateway demo -h\n") || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

// A terminal has every setting in its width.
func TestSettingsPage(t *testing.T) {
	for _, columns := range []int{10, 20, 40, 55, 60, 80, 100, 200} {
		page := settingsPage(columns)
		for line := range strings.Lines(page) {
			if n := columnsIn(strings.TrimSuffix(line, "\n")); n > min(columns, 100) {
				t.Errorf("%d columns of %d: %s", n, columns, line)
			}
		}
		words := strings.Join(strings.Fields(page), " ")
		for _, s := range config.Settings() {
			for _, name := range []string{s.Key, s.Env} {
				if columns >= 40 && !strings.Contains("\n"+page, "\n"+name+" ") && !strings.Contains("\n"+page, "\n"+name+"\n") {
					t.Errorf("%d columns: %s is missing", columns, name)
				}
			}
			if columns == 200 && s.Default != "" && !strings.Contains(words, s.Takes+"; default: ") {
				t.Errorf("%s has no default", s.Key)
			}
		}
	}
	const want = "\nshards.count                    Number of shards of the bot, over all processes.\n" +
		"DISCORD_SHARD_COUNT             (number; default: Discord's recommendation)\n\n"
	if page := settingsPage(80); !strings.Contains(page, want) {
		t.Errorf("%s", page)
	}
}
