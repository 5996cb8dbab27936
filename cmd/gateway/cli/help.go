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
  gateway sessions [clear]   list the persisted sessions, or delete them
  gateway status [-json]     show what the running process does
  gateway health [-ready]    ask the running process if it is live, or ready
  gateway top                show it live in the terminal
  gateway tap                show events as they pass
  gateway fleet [action]     show the fleet of the running process; drain it, or
                             rebalance
  gateway upgrade            have the running process hand over to a new version
  gateway shard action id    have a shard of it reconnect, resume or identify
  gateway loglevel level     set its log level
  gateway reload             have it read the settings again
  gateway reshard count      plan another shard count; with -yes change to it
  gateway service action     install it as a service of Windows, or remove it
  gateway help [topic]       this text; topics: settings, intents, events, exit,
                             and the commands' names
  gateway completion shell   print what completes this in bash, zsh or fish
  gateway man                print the page of the manual
  gateway version            print the version

Flags:
  -config file       settings in TOML (default gateway.toml; it may be absent)
  -loglevel level    debug, info, warn, error, or suppress (default info)
  -reader type       epoll or goroutine (default epoll on Linux)
  -require-broker    exit if the broker is unavailable at the start

Settings come from flags, the environment and the file, in this order. An empty
variable counts as not set. The least that is needed: DISCORD_TOKEN.

`

// topics are the texts of help's topics, but for those that are made of tables.
var topics = map[string]string{
	"run": `gateway [-config file] [-loglevel level]

Runs until a signal comes (SIGINT, SIGTERM) or Discord refuses the bot for good.
SIGHUP ends it in a terminal; a service reads its settings again. Events go to
standard output, or to the broker that broker.type names; commands come from
standard input, or from the broker; logs go to standard error. The shutdown
keeps the sessions and publishes what was received, within
shutdown_timeout; a second signal exits at once.

A terminal shows each event in one row: shard, sequence number, name and what
fits of the data. A file or a pipe gets whole events: gateway | cat.
`,
	"check": `gateway check [-online] [-config file]

Checks the settings and starts nothing. Prints ok with a summary and exits with
0, or a line for each mistake and exits with 2. It tries whether the directories
and files can be written to, and leaves nothing behind. What will be served over
HTTP, and to whom, has a line. What it did not contact is named. With -online it
asks Discord for the recommended shard count and the session starts left, and
logs in to the broker and to Redis as the store, which are left as they are;
each has a line. With shards.ids = "auto" it says what the fleet would do, and
with -online which members run and what this process would get there. Exit code
4 says that the token is refused, 1 that somebody did not answer, 2 that a
broker or the fleet refuses the settings.
`,
	"config": `gateway config [-config file]

Prints the settings in force as TOML, each with where it comes from: default,
file with line and column, environment, flag. Secrets are masked.
`,
	"sessions": `gateway sessions [clear [-yes]] [-config file]

Lists what is persisted: shard, session, shard count, the last event that is
acknowledged, and when that was written. clear removes all of it, after a
question that -yes answers: the shards then identify, which counts against the
day's session starts.
`,
	"upgrade": `gateway upgrade [-config file]

Asks the process that has shard_store.directory to hand over, as SIGUSR2 does:
it drains, notes where its shards stand, and puts the program that is now on the
disk in its own place, which resumes them. No session start is used, no event is
lost, and the process id stays. It first has the new program check the settings;
if that fails it goes on as it is. Waits for the outcome: exit code 0 says that
the new program runs, 1 with the reason that it does not. Linux alone.
`,
	"status": `gateway status [-json] [-address host:port] [-token-file file]
               [-config file]

Shows what the running process does: whether it is live and ready and why not,
shards, events, lag, what is lost, broker, queue, spool, session starts,
commands, why connections ended, and the first shards that are not ready. -json
prints the document of /status, which docs/status.md describes. Exit code 0 says
that it has answered, 1 with one line that none runs or answers.
` + reaching,
	"top": `gateway top [-address host:port] [-token-file file] [-config file]

Shows the running process live, each second: events, lag, what is lost, broker,
queue, session starts, and its shards, which keys sort and select (? lists the
keys, q quits). Without a terminal it prints a line a second.
` + reaching,
	"tap": `gateway tap [-event names] [-shard ids] [-guild id] [-rate n] [-max bytes]
            [-address host:port] [-token-file file] [-config file]

Prints events of the running process as they pass, a line of JSON for each, and
holds none of them up: above -rate, 100 a second by default, they are left out,
and how many that were is printed on standard error. -event MESSAGE_CREATE,
READY and -shard 0,1 select; -guild finds events with the id of a guild in them.
An event with more data than -max, 64 KiB by default, is printed without it.
` + reaching,
	"health": `gateway health [-ready] [-address host:port] [-token-file file]
               [-config file]

Asks the running process whether it is live: it makes progress, whatever Discord
and the broker do. With -ready: whether its shards are ready or resuming and the
broker is available. Prints ok or the checks that fail. Exit code 0, or 1, as it
is without an answer within 5 s. For probes of images with neither shell nor
curl.
` + reaching,
	"fleet": `gateway fleet [drain|rebalance] [-json] [-address host:port]
              [-token-file file] [-config file]

Shows the fleet as the running process sees it: its members with their shards
and shares, handovers, the last deaths, session starts; or why it has not joined
yet. -json prints the object fleet of /status, which docs/status.md describes.
drain: this member gives all of its shards to others, and takes none until its
process is restarted, which runs on. It waits until none is left, and fails when
nobody is there to take them. rebalance: this member gives what it has above its
share now, and does not wait for fleet.settle this once. Exit code 0, or 1 with
one line that says why, as where the process is in no fleet.
` + reaching,
	"shard": `gateway shard reconnect|resume|identify id [-address host:port]
              [-token-file file] [-config file]

Has the running process close the connection of a shard. reconnect: it resumes
its session, or identifies if it has none. resume: it must have one. identify:
it gives its session up, which costs a session start, and what Discord would
have sent again is lost.
` + reaching,
	"loglevel": `gateway loglevel debug|info|warn|error|suppress [-address host:port]
              [-token-file file] [-config file]

Sets the log level of the running process, until it ends or reloads.
` + reaching,
	"reload": `gateway reload [-address host:port] [-token-file file] [-config file]

Has the running process read its settings again, as SIGHUP does, and prints what
has changed. Settings with a mistake change nothing; exit code 1 says why.
` + reaching,
	"reshard": `gateway reshard count [-yes] [-address host:port] [-token-file file]
              [-config file]
gateway reshard -cancel

Prints what another shard count takes: session starts, and how long. With -yes
the running process connects the new shards beside the old ones, and changes
over when both get the same events: each event is published once, in the order
of its guild. Progress is printed until it is done; without this command it goes
on. -cancel calls it off, until the switch, and so does a shutdown, but in a
fleet, where the other members go on. It needs as many session starts as there
will be shards, beside the reserve, and all shards in one process or in a fleet.
While shards.count stays as it is, the new count stays in force after a restart.
` + reaching,
	"service": `gateway service install [name] -config file [-loglevel level]
gateway service remove [name]

Installs this program as a service of Windows that starts with the system, under
an account of its own, NT SERVICE\sluice, and is started again when it fails; or
removes it. It works in the directory of the settings file, and writes its log
to the event log Application. What is left to do is printed. The name is sluice
unless another is given. It needs a console that was opened as administrator.
`,
	"demo": `gateway demo [-for 60s] [-shards n] [-address host:port] [-seed n]
             [-rate n] [-compression name]

Runs shards against a simulated Discord in the same process, over TLS. It
cuts, stalls and garbles connections. No token, no network. The last line on
standard error says how many events came and how many were lost; those that a
shard without a connection would have been sent again are counted apart. The
gateway's page is served meanwhile; a line on standard error says where.

  -for duration      how long to run, such as 60s (default 0s: until Ctrl-C)
  -shards n          how many shards, up to 20000 (default 4)
  -address host:port where the page, metrics and health are served; '' for none
                     (default 127.0.0.1:0: a port that is free)
  -seed n            of the events and faults; 0 for no faults (default 1)
  -rate n            events a second and shard (default 5)
                     from 101 shards on the default is 500 of all together
  -compression name  zstd-stream, zlib-stream or none (default zstd-stream)

A terminal shows each event in one row, cut to its width, and below them the
last lines of the log and a status line. A file or a pipe gets whole events, one
JSON line each: gateway demo | cat. There is no status line then, since who
reads the pipe may write to the same terminal. NO_COLOR=1 leaves out the
colours, TERM=dumb the status line as well.
`,
	"help": `gateway help [topic]

Prints the usage, or the text of a topic.
`,
	"completion": `gateway completion bash|zsh|fish

Prints a script for the shell, which completes subcommands, flags and their
values: source <(gateway completion bash). The packages have them installed.
`,
	"man": `gateway man

Prints this as a page of the manual: gateway man | man -l -
`,
	"version": `gateway version

Prints the version, the revision it was built from, and the platform.
`,
	"exit": `Exit codes:
  0   done: a signal ended it
  1   another failure, such as a reader of its output that went away; the last
      line of the log says which
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

// reaching is how a command finds the running process.
const reaching = `
The process is found by control.sock in shard_store.directory, which its own
user alone can use; the bot's token need not be set. -address asks one elsewhere
at its http.address, host:port or https://host, and needs its http.token: from
-token-file, or from HTTP_TOKEN or the settings here.
`

// topicNames are the topics in the order in which they are listed.
var topicNames = []string{"settings", "intents", "events", "exit", "run", "check", "config", "sessions", "status", "top", "tap", "health", "fleet", "shard", "loglevel", "reload", "reshard", "upgrade", "service", "demo", "completion", "man", "help", "version"}

// help prints the usage or a topic.
func help(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		io.WriteString(stdout, usage+settingsText())
		return exitOK
	}
	switch topic := args[0]; topic {
	case "settings":
		if t := terminalOf(stdout); t != nil {
			columns, _ := t.size()
			io.WriteString(stdout, settingsPage(columns))
		} else {
			io.WriteString(stdout, config.Markdown())
		}
	case "intents":
		io.WriteString(stdout, intentsText())
	case "events":
		columns := 0
		if t := terminalOf(stdout); t != nil {
			columns, _ = t.size()
		}
		io.WriteString(stdout, eventsText(columns))
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

// settingsPage is what config.Markdown says, laid out for so many columns: the names of a setting
// in one, beside them what it is.
func settingsPage(columns int) string {
	const (
		most   = 100 // longer rows are hard to read
		narrow = 30  // below that the text goes under the names
	)
	names := 0
	for _, s := range config.Settings() {
		names = max(names, len(s.Key), len(s.Env), len(s.Flag)+len("flag -"))
	}
	indent := names + 2
	if columns < indent+narrow {
		indent = 2
	}
	var b strings.Builder
	for _, s := range config.Settings() {
		left := []string{s.Key, s.Env}
		if s.Flag != "" {
			left = append(left, "flag -"+s.Flag)
		}
		text := fmt.Sprintf("%s (%s; default: %s)", s.Doc, s.Takes, s.Default)
		right := wrap(text, max(1, min(columns, most)-indent))
		if indent <= names {
			for _, name := range left {
				fmt.Fprintln(&b, strings.Join(wrap(name, columns), "\n"))
			}
			left = nil
		}
		for i := range max(len(left), len(right)) {
			row := ""
			if i < len(left) {
				row = left[i]
			}
			if i < len(right) {
				row = fmt.Sprintf("%-*s%s", indent, row, right[i])
			}
			fmt.Fprintln(&b, row)
		}
		fmt.Fprintln(&b)
	}
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

// eventsText lists the events with the intents they come with, in so many columns; 0 for any number.
func eventsText(columns int) string {
	const indent = 41
	room := columns - indent
	if columns == 0 {
		room = 1000
	}
	var b strings.Builder
	for _, name := range wire.EventNames() {
		needs := "-"
		if intents := wire.EventIntents(name); intents != 0 {
			needs = strings.ReplaceAll(intents.String(), "|", " or ")
		}
		for _, row := range wrap(needs, max(room, len("AUTO_MODERATION_CONFIGURATION"))) {
			fmt.Fprintf(&b, "%-*s%s\n", indent, name, row)
			name = ""
		}
	}
	return b.String()
}
