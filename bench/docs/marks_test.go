package docs

// mark says how a code block is run, or why it is not.
type mark struct {
	doc string // the document,
	has string // and what the text of its block has, and that of none before it

	// reason is why the block is neither run nor parsed.
	reason string

	// Otherwise the shell runs it, in the environment that the blocks before it in the
	// document have left, or by an own way if one is named.
	way way

	discord bool   // with variables that lead to the simulated Discord
	anew    bool   // in another terminal: what was exported before is gone
	before  string // what else the shell runs first
	until   string // a pattern: once the output has it, Ctrl-C
	stays   bool   // until the end of the document, instead of Ctrl-C
	says    string // a pattern of what the output has in the end
}

// way is how a block is run.
type way string

const (
	inShell    way = ""
	asCommands way = "commands" // each line goes to the gateway's standard input, and reaches Discord
	byRedis    way = "redis"    // each line goes to redis-cli
)

var marks = []mark{
	{doc: "README.md", has: "Discord ◄", reason: "a picture"},
	{doc: "README.md", has: "make run\n", until: `"event":"MESSAGE_CREATE"`, says: `lost 0\n`},
	{doc: "README.md", has: "make test\n", reason: ".ci/run begins with it"},
	{doc: "README.md", has: "bin/gateway | python3 -c", discord: true, until: `\S+ writes in \d+`},
	{doc: "README.md", has: "REDIS_URL=localhost:6379", discord: true, until: `"msg":"(ready|resumed)"`}, // the block before it has left sessions

	{doc: "docs/commands.md", has: `{"shard":0,"packet"`, way: asCommands},
	{doc: "docs/commands.md", has: `{"event":"SEND"`, way: asCommands},
	{doc: "docs/commands.md", has: "cat >bin/bot.py", discord: true, until: `\d+ members in \d+`},

	{doc: "docs/formats.md", has: `{"event":"TYPING_START"`, reason: "a line with a sign for its end; cmd/gateway/config and sinks/stdio test the format"},
	{doc: "docs/formats.md", has: "82  a5 65 76 65 6e 74", reason: "bytes; sinks/stdio tests the format"},
	{doc: "docs/formats.md", has: "XGROUP CREATE MESSAGE_CREATE", way: byRedis},

	{doc: "docs/identify.md", has: "IDENTIFY_ADDRESS=:7070", discord: true, until: `"msg":"(ready|resumed)"`, stays: true},
	{doc: "docs/identify.md", has: "curl -s", says: `"shard 1 may identify"`},

	{doc: "docs/install.md", has: "sha256sum -c", reason: ".ci/reproduce makes a release, checks its sums, unpacks it and reads its SBOM"},
	{doc: "docs/install.md", has: "apt-get install ./dist", reason: "installs a service on this machine; .ci/release unpacks the package and looks at its files"},
	{doc: "docs/install.md", has: "systemd-sysusers", reason: "installs a service on this machine; .ci/release has systemd read the unit"},
	{doc: "docs/install.md", has: "ReadWritePaths=", reason: "a drop-in for systemd"},
	{doc: "docs/install.md", has: "docker run -d", reason: "needs Docker; .ci/image runs the image as this says"},
	{doc: "docs/install.md", has: "helm install", reason: "needs a cluster; bench/deploy TestChartDocs renders the chart with these values"},
	{doc: "docs/install.md", has: "make share\n"},

	{doc: "docs/macos.md", has: "launchctl bootstrap", reason: "for macOS; cmd/gateway/cli TestLaunchd reads the plist"},

	{doc: "docs/metrics.md", has: "metric_relabel_configs", reason: "a part of Prometheus' configuration; bench/e2e TestPrometheus has Prometheus read it"},
	{doc: "docs/reload.md", has: "ExecReload=", reason: "a line of a unit of systemd"},
	{doc: "docs/reload.md", has: "msg=reloaded", reason: "lines of the log; bench/e2e TestReload looks for them"},

	// In a directory of its own: the documents after it have no gateway.toml.
	{doc: "docs/migrate.md", has: "gateway check -config gateway.toml", discord: true,
		before: `PATH=$PWD/bin:$PATH; dir=$(dirname "$STATE"); cp testdata/config/accepted/old-readme.toml "$dir/gateway.toml"; cd "$dir"`,
		says:   `gateway.toml:39:1: note: redis.pool_size: has no effect`},
	{doc: "docs/migrate.md", has: "gateway.toml:4:1: warning", reason: "the output of the block before it, of which cmd/gateway/config has a golden file"},

	{doc: "docs/fleet.md", has: "kind: PodDisruptionBudget", reason: "needs a cluster; bench/deploy TestFleetDocs reads it as Kubernetes does"},
	{doc: "docs/fleet.md", has: "for host in gw1", reason: "needs three hosts"},
	{doc: "docs/fleet.md", has: "FOUND BY", reason: "the output of gateway fleet, as TestFleetTable in cmd/gateway/cli has it"},

	{doc: "docs/operate.md", has: "up 4.0 s", reason: "the output of gateway status, as TestStatusTable in cmd/gateway/cli has it"},
	{doc: "docs/operate.md", has: "q quit", reason: "a screen, as those of cmd/gateway/top TestScreens"},
	{doc: "docs/operate.md", has: "shards_ready=4", reason: "a line of cmd/gateway/top TestPrint"},
	{doc: "docs/operate.md", has: "livez: ok", reason: "lines of cmd/gateway/cli TestControl"},
	{doc: "docs/operate.md", has: "token_file = ", reason: "names a file; cmd/gateway/config TestHTTPToken reads one"},
	{doc: "docs/operate.md", has: "16 shards now, 32 to be", reason: "the output of gateway reshard, as TestPlanLines in cmd/gateway/cli has it"},
	{doc: "docs/operate.md", has: "proxy_pass http://127.0.0.1:8080", reason: "a location of nginx; cmd/gateway/admin TestAccess has what a proxy sends"},
	{doc: "docs/operate.md", has: "livenessProbe:", reason: "a part of a pod's specification; cmd/gateway/admin TestOtherSites has what a probe sends"},

	{doc: "docs/performance.md", has: "make load", reason: "measures for an hour; .ci/run runs `make quick`"},

	{doc: "docs/rabbitmq.md", has: "AMQP_URL=amqp://localhost", discord: true, until: `"msg":"ready"`},
	{doc: "docs/rabbitmq.md", has: "rabbitmqctl set_permissions", reason: "sinks/amqp TestBroker/rights runs it"},
	{doc: "docs/rabbitmq.md", has: "SEND  {", reason: "a table of routing keys and bodies; e2e TestAMQP sends such"},

	{doc: "docs/redis.md", has: "REDIS_URL=localhost:6379", discord: true, until: `"msg":"ready"`},
	{doc: "docs/redis.md", has: "ACL SETUSER gateway on", way: byRedis},
	{doc: "docs/redis.md", has: "XADD SEND", way: byRedis},

	{doc: "docs/simulator.md", has: "gateway-bench sim -listen", until: `(?m)^ca \S+`, stays: true},
	{doc: "docs/simulator.md", has: "export DISCORD_TOKEN=sim-token DISCORD_API_PROTOCOL", anew: true, until: `"event":"MESSAGE_CREATE"`},

	{doc: "docs/status.md", has: "bin/gateway >bin/events.jsonl", discord: true, until: `"msg":"(ready|resumed)"`, stays: true},
	{doc: "docs/status.md", has: "readyz?verbose", says: `shards: \d of 2 `},
	{doc: "docs/status.md", has: "jq '{ready", says: `"lost": 0`},
	{doc: "docs/status.md", has: "jq -r '.shards"},
	{doc: "docs/status.md", has: "bin/gateway status", says: `lost      0 known lost`},

	{doc: "docs/stdio.md", has: "bin/gateway | jq", discord: true, until: `\S+ writes in \d+`},

	{doc: "docs/windows.md", has: "service install", reason: "for Windows; cmd/gateway/cli TestService has what the service does"},
}
