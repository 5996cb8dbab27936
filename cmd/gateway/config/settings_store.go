// This file is the part of the table of settings that says what outlives the process.

package config

import (
	"math"
	"strconv"
	"time"
)

var storeSettings = []Setting{
	{
		Key: "shard_store.type", Env: "SHARD_STORE_TYPE", Takes: "name", Default: `"file"`,
		Doc: "Where sessions are kept, for the next process to resume: `file`, `redis` (that of `redis.urls`, whatever the broker is), or `memory`, which forgets them. Where no file can be written, and none is asked for, they are kept in memory.",
		read: func(c *Config, in input) {
			if s, ok := in.oneOf(StoreMemory, StoreFile, StoreRedis); ok {
				c.ShardStore.Type = s
			}
		},
		show: func(c *Config) string { return quote(c.ShardStore.Type) },
	},
	{
		Key: "shard_store.directory", Env: "SHARD_STORE_DIRECTORY", Takes: "path", Default: `"state"`,
		Doc:  "The directory of the file, one for each process; it is made if it is not there.",
		read: func(c *Config, in input) { readText(&c.ShardStore.Directory, in, `"state"`) },
		show: func(c *Config) string { return quote(c.ShardStore.Directory) },
	},
	{
		Key: "shard_store.prefix", Env: "SHARD_STORE_PREFIX", Takes: "text", Default: "empty",
		Doc: "What the keys in Redis begin with. Bots that share a Redis need different ones.",
		read: func(c *Config, in input) {
			if s, ok := in.string(`"gateway"`); ok {
				c.ShardStore.Prefix = s
			}
		},
		show: func(c *Config) string { return quoteUnlessEmpty(c.ShardStore.Prefix) },
	},
	{
		Key: "shard_store.compat", Env: "SHARD_STORE_COMPAT", Takes: Boolean, Default: "false",
		Doc:  "Whether Redis is kept up to date for the old gateway too, so that you can go back to it. What it has left there is read either way.",
		read: func(c *Config, in input) { in.bool(&c.ShardStore.Compat) },
		show: func(c *Config) string { return strconv.FormatBool(c.ShardStore.Compat) },
	},
	{
		Key: "shard_store.interval", Env: "SHARD_STORE_INTERVAL", Takes: "duration", Default: `"100ms"`,
		Doc: "How often what has changed is written, 10ms to 10s. After a crash, events since the last time come again.",
		read: func(c *Config, in input) {
			readDuration(&c.ShardStore.Interval, in, 10*time.Millisecond, 10*time.Second)
		},
		show: func(c *Config) string { return quote(formatDuration(c.ShardStore.Interval)) },
	},
	{
		Key: "spool.directory", Env: "SPOOL_DIRECTORY", Takes: "path", Default: "none",
		Doc:  "A directory, one for each process, for events that the broker does not take when `broker.buffer` is full: the sessions go on, and the events are delivered when the broker is back. Not used by stdio.",
		read: func(c *Config, in input) { readText(&c.Spool.Directory, in, `"spool"`) },
		show: func(c *Config) string { return quoteUnlessEmpty(c.Spool.Directory) },
	},
	{
		Key: "spool.size", Env: "SPOOL_SIZE", Takes: "size", Default: `"10GiB"`,
		Doc:  "Bound of that directory, 64MiB or more. With so much in it no more is read from Discord.",
		read: func(c *Config, in input) { readSize(&c.Spool.Size, in, 64<<20, math.MaxInt) },
		show: func(c *Config) string { return quote(formatSize(int64(c.Spool.Size))) },
	},
}
