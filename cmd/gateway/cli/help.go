// This file is `gateway help`.

package cli

import (
	"fmt"
	"io"
	"strings"

	"sluice/cmd/gateway/config"
	"sluice/wire"
)

const usage = `gateway connects a bot's shards to Discord and hands every event to standard
output, Redis Streams or RabbitMQ.

Usage:
  gateway [-config file] [-loglevel level]   run
  gateway check [-online]    check the settings; with -online ask Discord, too
  gateway config             print the settings and where each comes from
  gateway demo               run against a simulated Discord: no token needed
  gateway sessions [clear]   list the stored sessions, or forget them
  gateway upgrade            have the running process hand over to a new version
  gateway help [topic]       this text; topics: settings, intents, events, exit,
                             and the commands' names
  gateway version            print the version

Flags:
  -config file       settings in TOML (default gateway.toml, which may be absent)
  -loglevel level    debug, info, warn, error, or suppress (default info)
  -reader type       epoll or goroutine (default epoll on Linux)
  -require-broker    end if the broker is away at the start, do not wait for it

Settings come from flags, the environment and the file, in this order. An empty
variable counts as not set. The least that is needed: DISCORD_TOKEN.

`

// topics are the texts of help's topics, but for those that are made of tables.
var topics = map[string]string{
	"run": `gateway [-config file] [-loglevel level]

Runs until a signal comes (SIGINT, SIGTERM, SIGHUP) or Discord refuses the bot for good.
Events go to standard output, or to the broker that broker.type names; commands come
from standard input, or from the broker; logs go to standard error. The way out keeps the sessions and hands on what was received,
within shutdown_timeout; a second signal exits at once.
`,
	"check": `gateway check [-online] [-config file]

Checks the settings and starts nothing. Prints ok with a summary and exits with
0, or a line for each mistake and exits with 2. It tries whether the directories
and files can be written to, and leaves nothing behind. What it did not contact
is named. With -online it asks Discord for the recommended shard count and the
session starts left, and logs in to the broker and to Redis as the store, which
are left as they are; each has a line. Exit code 4 says that the token is
refused, 1 that somebody did not answer, 2 that a broker refuses the settings.
`,
	"config": `gateway config [-config file]

Prints the settings in force as TOML, each with where it comes from: default,
file with line and column, environment, flag. Secrets are masked.
`,
	"sessions": `gateway sessions [clear [-yes]] [-config file]

Lists what is stored: shard, session, shard count, the last event that is safe, and
when that was noted. clear forgets all of it, after a question that -yes answers: the
shards then identify, which counts against the day's session starts.
`,
	"upgrade": `gateway upgrade [-config file]

Asks the process that has shard_store.directory to hand over, as SIGUSR2 does: it
drains, notes where its shards stand, and puts the program that is now on the disk in
its own place, which resumes them. No session start is used, no event is lost, and the
process id stays. It first has the new program check the settings; if that fails it goes
on as it is. Waits for the outcome: exit code 0 says that the new program runs, 1 with
the reason that it does not. Linux alone.
`,
	"demo": `gateway demo [-for 60s] [-seed n] [-rate n] [-compression name]

Runs four shards against a simulated Discord in the same process, over TLS, and
prints their events as JSON lines. The simulated Discord cuts, stalls and
garbles connections (-seed 0: it does not). The last line on standard error
says how many events came and how many were lost. No token, no network.
`,
	"help": `gateway help [topic]

Prints the usage, or the text of a topic.
`,
	"version": `gateway version

Prints the version, the revision it was built from, and the platform.
`,
	"exit": `Exit codes:
  0   done: a signal ended it, or the reader of its output went away
  1   another failure; the last line of the log says which
  2   the command line or a setting is wrong, or a directory cannot be used;
      nothing was started
  3   Discord refuses this bot (HTTP 403)
  4   the token is wrong or was reset (HTTP 401, close code 4004)
  10  the shard is none of the bot's (4010)
  11  too few shards for the bot's guilds (4011)
  12  the gateway version is not served (4012)
  13  the intents hold a bit that is none (4013)
  14  the intents hold a privileged one that is not switched on (4014)
`,
}

// topicNames are the topics in the order in which they are listed.
var topicNames = []string{"settings", "intents", "events", "exit", "run", "check", "config", "sessions", "upgrade", "demo", "help", "version"}

// help prints the usage or a topic.
func help(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		io.WriteString(stdout, usage+settingsText())
		return exitOK
	}
	switch topic := args[0]; topic {
	case "settings":
		io.WriteString(stdout, config.Markdown())
	case "intents":
		io.WriteString(stdout, intentsText())
	case "events":
		io.WriteString(stdout, eventsText())
	default:
		text, ok := topics[topic]
		if !ok {
			fmt.Fprintf(stderr, "gateway: no help on %s%s\nTopics: %s.\n",
				fmt.Sprintf("%.60q", config.RedactArgument(topic)), didYouMean(topic, topicNames), strings.Join(topicNames, ", "))
			return exitUsage
		}
		io.WriteString(stdout, text)
	}
	return exitOK
}

// settingsText lists every setting with its variable and default.
func settingsText() string {
	var b strings.Builder
	b.WriteString("Settings (key in the file, variable, default):\n")
	for _, s := range config.Settings() {
		fmt.Fprintf(&b, "  %-22s  %-24s  %s\n", s.Key, s.Env, s.Default)
	}
	b.WriteString("\ngateway help settings says what each is.\n")
	return b.String()
}

// intentsText lists the intents.
func intentsText() string {
	var b strings.Builder
	for _, name := range wire.IntentNames() {
		bit, _ := wire.ParseIntent(name)
		note := ""
		if bit.Privileged() != 0 {
			note = "  privileged"
		}
		fmt.Fprintf(&b, "%-30s %9d%s\n", name, uint64(bit), note)
	}
	return b.String()
}

// eventsText lists the events with the intents they come with.
func eventsText() string {
	var b strings.Builder
	for _, name := range config.EventNames() {
		needs := "-"
		if intents := config.EventIntents(name); intents != 0 {
			needs = strings.ReplaceAll(intents.String(), "|", " or ")
		}
		fmt.Fprintf(&b, "%-40s %s\n", name, needs)
	}
	return b.String()
}
