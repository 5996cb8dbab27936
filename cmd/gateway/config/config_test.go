// This file tests how settings are read, one over the other, and the table.

package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/wire"
)

const token = "not.a.token"

// writeFile makes a file with the settings and returns its name.
func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "gateway.toml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// mustLoad fails the test when the settings have an error.
func mustLoad(t *testing.T, s Sources) *Config {
	t.Helper()
	c, problems := Load(s)
	if problems.Failed() {
		t.Fatalf("Load: %v", problems)
	}
	return c
}

// A setting that is not set has the documented default.
func TestDefaults(t *testing.T) {
	t.Chdir(t.TempDir()) // without a gateway.toml
	got := mustLoad(t, Sources{Environ: []string{"DISCORD_TOKEN=" + token}})
	want := &Config{
		Token:           token,
		Intents:         wire.UnprivilegedIntents,
		GatewayVersion:  10,
		Compression:     wire.CompressionZstd,
		MaxMessage:      64 << 20,
		ReadyTimeout:    10 * time.Minute,
		ShutdownTimeout: 10 * time.Second,
		API:             APIConfig{Scheme: "https", Host: "discord.com", Version: 10},
		Reader:          ReaderConfig{Type: "epoll", PollInterval: 4 * time.Millisecond},
		Broker: BrokerConfig{
			Type: "stdio", Group: "gateway", MessageTimeout: 2 * time.Minute, Buffer: 64 << 20,
			Gaps: true, Linger: time.Millisecond, DeadLetters: "dead-letters.jsonl", DeadLettersSize: 64 << 20,
		},
		Stdio:  StdioConfig{Format: "json"},
		Shards: ShardsConfig{IdentifyReserve: 100},
		Fleet:  FleetConfig{Weight: 1, Moves: 16, Death: 6 * time.Second, Settle: 10 * time.Second},

		PresenceFollow: true,

		Prometheus: PrometheusConfig{Packets: "auto"},
		ShardStore: ShardStoreConfig{Type: "file", Directory: "state", Interval: 100 * time.Millisecond},
		Spool:      SpoolConfig{Size: 10 << 30},
		AMQP:       AMQPConfig{ExchangeType: "direct", Headers: true, Heartbeat: 10 * time.Second, Prefetch: 64},
		Redis:      RedisConfig{PoolSize: 5, Retention: time.Hour},
		Log:        LogConfig{Level: slog.LevelInfo, Format: "auto"},
		origins:    map[string]Origin{"token": {Kind: FromEnvironment, Name: "DISCORD_TOKEN"}},
	}
	if runtime.GOOS != "linux" {
		want.Reader.Type = "goroutine"
	}
	got.inForce = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
	if base := got.APIBase(); base != "https://discord.com/api/v10" {
		t.Errorf("APIBase is %s", base)
	}
}

// TestServer: whom sessions belong to, and whether the API may be asked.
func TestServer(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tc := range []struct {
		env  string // with spaces
		host string
		asks bool
	}{
		{"", "discord.com", true},
		{"DISCORD_API_HOST=Canary.Discord.com", "discord.com", true},
		{"DISCORD_API_HOST=Rest-Proxy:8080", "rest-proxy:8080", true},
		{"DISCORD_GATEWAY_URL=wss://gateway.discord.gg", "discord.com", true},
		{"DISCORD_GATEWAY_URL=wss://gateway.discord.gg DISCORD_SHARD_COUNT=1", "discord.com", false},
		{"DISCORD_GATEWAY_URL=wss://gw.example.com:8443/a DISCORD_SHARD_COUNT=1", "gw.example.com:8443", false},
		{"DISCORD_GATEWAY_URL=wss://gw.example.com DISCORD_SHARD_COUNT=1 DISCORD_API_HOST=discord.com", "gw.example.com", true},
		{"DISCORD_GATEWAY_URL=wss://evildiscord.gg", "evildiscord.gg", true},
	} {
		c := mustLoad(t, Sources{Environ: append(strings.Fields(tc.env), "DISCORD_TOKEN="+token)})
		if c.ServerHost() != tc.host || c.AsksAPI() != tc.asks {
			t.Errorf("%s: %s, asks %v", tc.env, c.ServerHost(), c.AsksAPI())
		}
	}
}

// TestProxyFunc: the proxy of the settings is for every host, none is none.
func TestProxyFunc(t *testing.T) {
	t.Chdir(t.TempDir())
	load := func(env ...string) *Config { return mustLoad(t, Sources{Environ: append(env, "DISCORD_TOKEN="+token)}) }
	if load().ProxyFunc() == nil {
		t.Error("the environment is not asked")
	}
	if load("DISCORD_PROXY=none").ProxyFunc() != nil {
		t.Error("none is one")
	}
	const address = "socks5h://user:pass%20word@[::1]:1080"
	for _, host := range []string{"localhost", "discord.com"} {
		p, err := load("DISCORD_PROXY=" + address).ProxyFunc()(&url.URL{Scheme: "https", Host: host})
		if err != nil || p.String() != address {
			t.Errorf("%s: %v, %v", host, p, err)
		}
	}
}

// TestEnvironmentProxy: what net/http would take for no proxy at all is an error, unless the setting is there.
func TestEnvironmentProxy(t *testing.T) {
	t.Chdir(t.TempDir())
	for pair, wrong := range map[string]bool{
		"HTTPS_PROXY=http://[::1": true, "https_proxy=://x": true, "HTTPS_PROXY=http://user:pass@proxy:99999": true, "HTTP_PROXY=ftp://a:1": true,
		"HTTPS_PROXY=foo bar": true, "HTTPS_PROXY=proxy:3128": false, "http_proxy=http://proxy:3128/": false, "HTTPS_PROXY=socks5://u:p@proxy": false,
		"HTTPS_PROXY=": false, "NO_PROXY=*": false,
	} {
		name, _, _ := strings.Cut(pair, "=")
		_, problems := Load(Sources{Environ: []string{pair, "DISCORD_TOKEN=" + token}})
		text := fmt.Sprint(problems)
		if problems.Failed() != wrong || wrong && !strings.Contains(text, name) || strings.Contains(text, "pass@") {
			t.Errorf("%s: %s", pair, text)
		}
		if _, problems = Load(Sources{Environ: []string{pair, "DISCORD_PROXY=none", "DISCORD_TOKEN=" + token}}); problems.Failed() {
			t.Errorf("%s, which the setting replaces: %v", pair, problems)
		}
	}
	if _, problems := Load(Sources{Environ: []string{"HTTPS_PROXY=proxy:1", "https_proxy=://x", "DISCORD_TOKEN=" + token}}); problems.Failed() {
		t.Errorf("the one that has no effect: %v", problems)
	}
}

// TestDefaultFile: gateway.toml in the working directory is read unless
// another is named, and then that one has to be there.
func TestDefaultFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(DefaultFile, []byte("token = 'not.a.token'\nlog.level = 'debug'"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := mustLoad(t, Sources{}); c.Log.Level != slog.LevelDebug {
		t.Errorf("%s was not read", DefaultFile)
	}
	_, problems := Load(Sources{File: "other.toml"})
	if got := fmt.Sprint(problems); !strings.Contains(got, "other.toml: error: there is no such file") || strings.Contains(got, "missing") {
		t.Errorf("a file that is named and not there: %s", got)
	}
}

func TestPrecedence(t *testing.T) {
	const file = "token = 'file.file.file'\nlog.level = 'error'\n"
	const env = "LOG_LEVEL=warn"
	for _, tc := range []struct {
		name   string
		file   string
		env    []string
		flags  map[string]string
		level  slog.Level
		token  Secret
		origin OriginKind // of log.level
	}{
		{"default", "token = 'file.file.file'", nil, nil, slog.LevelInfo, "file.file.file", FromDefault},
		{"file", file, nil, nil, slog.LevelError, "file.file.file", FromFile},
		{"environment", file, []string{env}, nil, slog.LevelWarn, "file.file.file", FromEnvironment},
		{"flag", file, []string{env}, map[string]string{"loglevel": "debug"}, slog.LevelDebug, "file.file.file", FromFlag},
		{"suppress", file, []string{env}, map[string]string{"loglevel": "suppress"}, LevelSuppress, "file.file.file", FromFlag},
		{"empty variable", file, []string{"LOG_LEVEL=", "DISCORD_TOKEN="}, nil, slog.LevelError, "file.file.file", FromFile},
		{"token", file, []string{"DISCORD_TOKEN=Bot  env.env.env\n"}, nil, slog.LevelError, "env.env.env", FromFile},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustLoad(t, Sources{File: writeFile(t, tc.file), Environ: tc.env, Flags: tc.flags})
			if c.Log.Level != tc.level || c.Token != tc.token || c.Origin("log.level").Kind != tc.origin {
				t.Errorf("level %v, token %q, origin %v", c.Log.Level, c.Token.Reveal(), c.Origin("log.level"))
			}
		})
	}
}

// TestTokenFile: the later source counts, whichever of token and token_file it
// sets; what it replaces is not looked at.
func TestTokenFile(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "token")
	if err := os.WriteFile(secret, []byte(" Bot from.the.file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, file string
		env        []string
		want       Secret
		origin     string // the key that it came from
	}{
		{"file", "token_file = " + quote(secret), nil, "from.the.file", "token_file"},
		{"variable over file", "token = 'a.b.c'", []string{"DISCORD_TOKEN_FILE=" + secret}, "from.the.file", "token_file"},
		{"token over token_file", "token_file = 'not there'", []string{"DISCORD_TOKEN=d.e.f"}, "d.e.f", "token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustLoad(t, Sources{File: writeFile(t, tc.file), Environ: tc.env})
			if c.Token != tc.want {
				t.Errorf("token is %q", c.Token.Reveal())
			}
			for _, key := range []string{"token", "token_file"} {
				if set := c.Origin(key).Kind != FromDefault; set != (key == tc.origin) {
					t.Errorf("origin of %s is %v", key, c.Origin(key))
				}
			}
		})
	}
}

// TestOverruled: what is incomplete is no trouble when a later source says otherwise.
func TestOverruled(t *testing.T) {
	file := writeFile(t, "token = 'a.b.c'\nbroker.type = 'amqp'\napi.ca_file = 'not there'\n")
	if _, problems := Load(Sources{File: file}); !problems.Failed() {
		t.Error("the broker amqp without an address and a missing file pass")
	}
	cert := filepath.Join(t.TempDir(), "ca.pem")
	pem, err := os.ReadFile("../../../testdata/config/accepted/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, Sources{File: file, Environ: []string{"BROKER_TYPE=stdio", "DISCORD_API_CA_FILE=" + cert}})
	if conf, err := c.TLS(); err != nil || conf.RootCAs == nil {
		t.Errorf("TLS: %v, %v", conf, err)
	}
}

// TestLists: nil and empty are different things.
func TestLists(t *testing.T) {
	for _, tc := range []struct {
		file    string
		events  []string
		ids     []int
		intents wire.Intents
	}{
		{"", nil, nil, wire.UnprivilegedIntents},
		{"events = []\nintents = []", []string{}, nil, 0},
		{"events = ['READY']\nintents = ['GUILDS', 'GUILD']\nshards.ids = [3, '0-1', \"5, 7 - 8\"]",
			[]string{"READY"}, []int{0, 1, 3, 5, 7, 8}, wire.IntentGuilds},
		{"rawintents = 0x201", nil, nil, wire.IntentGuilds | wire.IntentGuildMessages},
		{"rawintents = 0", nil, nil, 0},
	} {
		c := mustLoad(t, Sources{File: writeFile(t, "token = 'a.b.c'\n"+tc.file)})
		if !reflect.DeepEqual(c.Events, tc.events) || !reflect.DeepEqual(c.Shards.IDs, tc.ids) || c.Intents != tc.intents {
			t.Errorf("%q: events %#v, ids %#v, intents %s", tc.file, c.Events, c.Shards.IDs, c.Intents)
		}
	}
}

func TestPresence(t *testing.T) {
	for _, tc := range []struct{ toml, json, want string }{
		{"[presence]", `{}`, `{"since":null,"activities":[],"status":"online","afk":false}`},
		{"presence = {status = 'dnd', since = 91879201, afk = true}", `{"status":"dnd","since":91879201,"afk":true}`,
			`{"since":91879201,"activities":[],"status":"dnd","afk":true}`},
		{"[[presence.activities]]\nname = 'a <b>'\ntype = 3\n[[presence.activities]]\ntype = 'custom'\nstate = 'x'",
			`{"since":null,"activities":[{"name":"a <b>","type":3,"url":null},{"type":4,"state":"x"}]}`,
			`{"since":null,"activities":[{"name":"a <b>","type":3},{"name":"Custom Status","type":4,"state":"x"}],"status":"online","afk":false}`},
		{"[presence.game]\nname = 'test'", `{"game":{"name":"test","type":0},"activities":null}`,
			`{"since":null,"activities":[{"name":"test","type":0}],"status":"online","afk":false}`},
		{"presence.game = {name = 't', type = 1, url = 'https://twitch.tv/t'}", `{"game":{"name":"t","type":1,"url":"https://twitch.tv/t"}}`,
			`{"since":null,"activities":[{"name":"t","type":1,"url":"https://twitch.tv/t"}],"status":"online","afk":false}`},
	} {
		fromFile := mustLoad(t, Sources{File: writeFile(t, "token = 'a.b.c'\n"+tc.toml)})
		fromEnv := mustLoad(t, Sources{File: writeFile(t, "token = 'a.b.c'"), Environ: []string{"DISCORD_PRESENCE=" + tc.json}})
		if string(fromFile.Presence) != tc.want || string(fromEnv.Presence) != tc.want {
			t.Errorf("%s\ngot  %s\nand  %s\nwant %s", tc.toml, fromFile.Presence, fromEnv.Presence, tc.want)
		}
	}
}

// TestDeepDocument: places are noted to a bounded depth, else their paths would fill the memory.
func TestDeepDocument(t *testing.T) {
	for _, document := range []string{strings.Repeat("a.", 100_000) + "a = 1", "a = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)} {
		_, problems := Load(Sources{File: writeFile(t, "token = 'a.b.c'\n"+document)})
		if got := problems[0]; got.Origin.Line != 2 || got.Origin.Column != 1 || !strings.HasPrefix(got.Text, "unknown ") {
			t.Errorf("%s", got)
		}
	}
}

func TestByteOrderMark(t *testing.T) {
	c := mustLoad(t, Sources{File: writeFile(t, "\xef\xbb\xbftoken = 'a.b.c'\r\nlog.level = 'debug'\r\n")})
	if c.Log.Level != slog.LevelDebug {
		t.Error("the file of a Windows editor was not read")
	}
}

// TestTable: the table is whole, and its defaults are those in force.
func TestTable(t *testing.T) {
	keys, envs := map[string]bool{}, map[string]bool{}
	for _, s := range defaults().settings() {
		if s.Key == "" || s.Env == "" || s.Takes == "" || s.Default == "" || s.Doc == "" || keys[s.Key] || envs[s.Env] {
			t.Errorf("row %q (%s) has a gap or is there twice", s.Key, s.Env)
		}
		keys[s.Key], envs[s.Env] = true, true
		if s.Key == "intents" || s.Key == "reader.type" && runtime.GOOS != "linux" {
			continue // the default is documented in words
		}
		if show := s.show(); show != "" && show != s.Default {
			t.Errorf("%s: documented default %s, in force %s", s.Key, s.Default, show)
		}
	}
	for _, name := range wire.EventNames() {
		if !isEventName(name) {
			t.Errorf("%s is no event name", name)
		}
	}
}

// TestFormatReadsBack: what `gateway config` prints is a file with the same
// settings, but for the secrets.
func TestFormatReadsBack(t *testing.T) {
	t.Chdir("../../../testdata/config/accepted")
	c := mustLoad(t, Sources{File: "everything.toml"})
	again := mustLoad(t, Sources{File: writeFile(t, c.Format())})
	if got, want := values(again.Format()), values(c.Format()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// values returns what Format printed without the origins.
func values(formatted string) string {
	var b strings.Builder
	for line := range strings.Lines(formatted) {
		b.WriteString(strings.TrimRight(line[:strings.LastIndex(line, "  # ")], " ") + "\n")
	}
	return b.String()
}

// On standard output an event that was not asked for would come between those that were.
func TestGapsDefault(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct {
		env  string // with spaces
		want bool
	}{
		{"", true},
		{"DISCORD_EVENTS=MESSAGE_CREATE", false},
		{"DISCORD_EVENTS=MESSAGE_CREATE,GATEWAY_GAP", true},
		{"DISCORD_EVENTS=MESSAGE_CREATE BROKER_GAPS=true", true},
		{"DISCORD_EVENTS=GATEWAY_GAP BROKER_GAPS=false", false},
		{"BROKER_GAPS=false", false},
		{"DISCORD_EVENTS=MESSAGE_CREATE BROKER_TYPE=redis REDIS_URL=localhost", true},
		{"DISCORD_EVENTS=MESSAGE_CREATE BROKER_TYPE=amqp AMQP_URL=amqp://localhost", true},
	} {
		c, problems := Load(Sources{Environ: append(strings.Fields(tt.env), "DISCORD_TOKEN="+token)})
		if c == nil || c.Broker.Gaps != tt.want {
			t.Errorf("%s: gaps are %v, want %v", tt.env, !tt.want, tt.want)
		}
		for _, p := range problems {
			if strings.Contains(p.String(), "GATEWAY_GAP") {
				t.Errorf("%s: %v", tt.env, p)
			}
		}
	}
}

// Turns to identify are given or asked for, not both; the service of others is an address without secrets.
func TestIdentifySettings(t *testing.T) {
	for _, tt := range []struct{ environ, want string }{
		{"IDENTIFY_ADDRESS=:7070", ""},
		{"IDENTIFY_QUEUE=http://queue:7070", ""},
		{"IDENTIFY_QUEUE=https://queue.example/turns/", ""},
		{"IDENTIFY_ADDRESS=:7070 DISCORD_SHARD_IDS=auto REDIS_URL=localhost", ""},
		{"IDENTIFY_QUEUE=http://queue DISCORD_SHARD_IDS=auto REDIS_URL=localhost", "identify.queue: has no place in a fleet"},
		{"IDENTIFY_QUEUE=http://queue IDENTIFY_ADDRESS=:7070", "identify.address: gives the turns of this process, which has none"},
		{"IDENTIFY_QUEUE=queue:7070", `identify.queue: "queue:7070" does not begin with http:// or https://`},
		{"IDENTIFY_QUEUE=http://user:password@queue", "identify.queue: the address has no user or password in it"},
		{"IDENTIFY_QUEUE=http://queue/?shard=0", "identify.queue: not an address such as http://gateway-queue:7070, to which"},
		{"IDENTIFY_QUEUE=http://queue:0", "identify.queue: the port is not a number"},
		{"IDENTIFY_ADDRESS=7070", "identify.address: \"7070\" is not host:port"},
	} {
		cfg, problems := Load(Sources{Environ: append(strings.Fields(tt.environ), "DISCORD_TOKEN=x.y.z")})
		text := fmt.Sprint(problems)
		switch {
		case tt.want == "" && (problems.Failed() || strings.Contains(tt.environ, "ADDRESS") != (cfg.Identify.Address == "127.0.0.1:7070")):
			t.Errorf("%q: %q, %v", tt.environ, cfg.Identify.Address, problems)
		case tt.want != "" && (!problems.Failed() || !strings.Contains(text, tt.want) || strings.Contains(text, "user:")):
			t.Errorf("%q: %v, want %s", tt.environ, problems, tt.want)
		}
	}
}

// A fleet needs a Redis, and has no spool; what is misspelt is named.
func TestFleetSettings(t *testing.T) {
	for _, tt := range []struct {
		environ []string
		want    string // part of an error; empty: none
	}{
		{[]string{"DISCORD_SHARD_IDS=auto", "REDIS_URL=localhost"}, ""},
		{[]string{"DISCORD_SHARD_IDS=Auto", "REDIS_URL=localhost"}, ""},
		{[]string{"DISCORD_SHARD_IDS=auto"}, "redis.urls: missing, and shards.ids is auto"},
		{[]string{"DISCORD_SHARD_IDS=auto", "REDIS_URL=localhost", "SPOOL_DIRECTORY=spool"}, "spool.directory: has no place in a fleet"},
		{[]string{"DISCORD_SHARD_IDS=auot", "REDIS_URL=localhost"}, "did you mean auto?"},
		{[]string{"DISCORD_SHARD_IDS=auto", "REDIS_URL=localhost", "FLEET_WEIGHT=0"}, "fleet.weight"},
	} {
		cfg, problems := Load(Sources{Environ: append(tt.environ, "DISCORD_TOKEN=x.y.z")})
		switch {
		case tt.want == "" && (problems.Failed() || !cfg.Shards.Auto || cfg.Shards.IDs != nil):
			t.Errorf("%q: %v", tt.environ, problems)
		case tt.want != "" && (!problems.Failed() || !strings.Contains(fmt.Sprint(problems), tt.want)):
			t.Errorf("%q: %v, want %s", tt.environ, problems, tt.want)
		}
	}
}
