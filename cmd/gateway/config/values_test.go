// This file tests the small languages of values: names, ids, sizes, durations.

package config

import (
	"math"
	"slices"
	"testing"
	"time"

	"sluice/wire"
)

// What is suggested for a misspelled name is what a person would guess, or nothing.
func TestNearest(t *testing.T) {
	var keys, envs []string
	for _, s := range Settings() {
		keys, envs = append(keys, s.Key), append(envs, s.Env)
	}
	for _, tc := range []struct {
		name       string
		candidates []string
		want       string
	}{
		{"GUILD_MESAGES", wire.IntentNames(), "GUILD_MESSAGES"},
		{"guild_messages", wire.IntentNames(), "GUILD_MESSAGES"},
		{"GuildMessages", wire.IntentNames(), "GUILD_MESSAGES"},
		{"MESSAGE_CONTNET", wire.IntentNames(), "MESSAGE_CONTENT"},
		{"GUILD_MEMBER", wire.IntentNames(), "GUILD_MEMBERS"},
		{"ALL", wire.IntentNames(), ""},
		{"messageCreate", wire.EventNames(), "MESSAGE_CREATE"},
		{"MESSAGE_CREATED", wire.EventNames(), "MESSAGE_CREATE"},
		{"SOMETHING_NEW", wire.EventNames(), ""},
		{"raw_intents", keys, "rawintents"},
		{"loglevel", keys, "log.level"},
		{"shard_count", keys, "shards.count"},
		{"redis.url", keys, "redis.urls"},
		{"compress", keys, "compression"},
		{"gateway.version", keys, "gateway_version"},
		{"zebra", keys, ""},
		{"", keys, ""},
		{"DISCORD_BOT_TOKEN", envs, "DISCORD_TOKEN"},
		{"DISCORD_RAWINTENTS", envs, "DISCORD_RAW_INTENTS"},
		{"DISCORD_API_SCHEME", envs, ""},
		{"BROKER_TIMEOUT", envs, "BROKER_MESSAGE_TIMEOUT"},
		{"PROMETHEUS_ADDR", envs, "PROMETHEUS_ADDRESS"},
		{"DISCORD_CLIENT_ID", envs, ""},
		{"DISCORD_GUILD_ID", envs, ""},
		{"DISCORD_PUBLIC_KEY", envs, ""},
		{"warning", []string{"error", "warn", "info"}, "warn"},
	} {
		if got := Nearest(tc.name, tc.candidates); got != tc.want {
			t.Errorf("Nearest(%q) is %q, want %q", tc.name, got, tc.want)
		}
	}
}

// Every form of a list of shard ids, and the message for every wrong one.
func TestShardIDs(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []int
		err  string
	}{
		{"0", []int{0}, ""},
		{"0-3,5", []int{0, 1, 2, 3, 5}, ""},
		{" 5 , 0 - 3 ", []int{0, 1, 2, 3, 5}, ""},
		{"65535", []int{65535}, ""},
		{"", nil, "a number is missing between two commas or at an end"},
		{"1,", nil, "a number is missing between two commas or at an end"},
		{"1-", nil, `"1-" is neither a shard id nor a range such as 0-15`},
		{"-1", nil, `"-1" is neither a shard id nor a range such as 0-15`},
		{"1-2-3", nil, `"1-2-3" is neither a shard id nor a range such as 0-15`},
		{"+1", nil, `"+1" is neither a shard id nor a range such as 0-15`},
		{"3-0", nil, "the range 3-0 is backwards; did you mean 0-3?"},
		{"0-3,2", nil, "shard 2 is named twice"},
		{"0-65535,0-65535", nil, "shard 0 is named twice"},
		{"0-65536", nil, "shard 65536 is above the highest id, 65535"},
		{"99999999999999999999", nil, "shard 99999999999999999999 is above the highest id, 65535"},
	} {
		got, err := ParseShardIDs(tc.text)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%q: error %v, want %s", tc.text, err, tc.err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%q: %v, %v, want %v", tc.text, got, err, tc.want)
		}
	}
	if got := FormatShardIDs([]int{0, 1, 2, 4, 6, 7}); got != "0-2,4,6-7" {
		t.Error(got)
	}
}

func TestSize(t *testing.T) {
	for _, tc := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"64MiB", 64 << 20, true},
		{"64mib", 64 << 20, true},
		{" 64 MiB ", 64 << 20, true},
		{"1GiB", 1 << 30, true},
		{"500KB", 500_000, true},
		{"2MB", 2_000_000, true},
		{"1GB", 1_000_000_000, true},
		{"12B", 12, true},
		{"1048576", 1 << 20, true},
		{"99999999999999999999", math.MaxInt64, true},
		{"9999999999999GiB", math.MaxInt64, true},
		{"1.5GiB", 0, false},
		{"-1", 0, false},
		{"MiB", 0, false},
		{"64 megs", 0, false},
		{"", 0, false},
	} {
		if got, ok := parseSize(tc.text); got != tc.want || ok != tc.ok {
			t.Errorf("%q: %d, %t, want %d, %t", tc.text, got, ok, tc.want, tc.ok)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1 << 10: "1KiB", 64 << 20: "64MiB", 1500: "1500", 3 << 30: "3GiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		2 * time.Minute: "2m", time.Hour: "1h", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m",
		10 * time.Second: "10s", 100 * time.Second: "1m40s", 20 * time.Hour: "20h", 500 * time.Millisecond: "500ms",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}
