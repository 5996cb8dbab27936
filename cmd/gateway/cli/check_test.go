// This file tests `gateway check -online` against a server.

package cli

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// api serves GET /gateway/bot with one answer.
func api(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v10/gateway/bot" || r.Header.Get("Authorization") != "Bot very.secret.token" ||
			!strings.HasPrefix(r.Header.Get("User-Agent"), "DiscordBot (") {
			http.Error(w, "not what a gateway asks", http.StatusTeapot)
			return
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	})
}

// gateway check -online says what Discord answers, and exits with the code of the trouble that a
// run would have.
func TestCheckOnline(t *testing.T) {
	const (
		small = `{"url":"wss://gateway.discord.gg","shards":1,"session_start_limit":{"total":1000,"remaining":999,"reset_after":14400000,"max_concurrency":1}}`
		large = `{"url":"wss://gateway.discord.gg","shards":160,"session_start_limit":{"total":2000,"remaining":10,"reset_after":60000,"max_concurrency":16}}`
	)
	for _, tc := range []struct {
		name   string
		status int
		body   string
		env    []string
		code   int
		stdout string
		stderr string // without the notes
	}{
		{"small", 200, small, nil, exitOK,
			"Discord: ok: it recommends 1 shard; 999 of 1000 session starts left, anew in 4h0m0s; max_concurrency 1; gateway wss://gateway.discord.gg\nok: ", ""},
		{"few starts left", 200, large, []string{"DISCORD_SHARD_COUNT=160"}, exitOK, "Discord: ok: it recommends 160 shards",
			"warning: 160 shards to start and 10 session starts left: the rest waits 1m0s\n"},
		{"too few shards", 200, large, []string{"DISCORD_SHARD_COUNT=63", "DISCORD_SHARD_IDS=0-7"}, exitOK, "Discord: ok: it recommends 160 shards",
			"environment DISCORD_SHARD_COUNT: warning: shards.count: 63 is probably refused (4011): at most 2,500 guilds fit on a shard, and Discord recommends 160 shards\n"},
		{"just enough shards", 200, large, []string{"DISCORD_SHARD_COUNT=64", "DISCORD_SHARD_IDS=0-7"}, exitOK, "Discord: ", ""},
		{"not a multiple", 200, large, []string{"DISCORD_SHARD_COUNT=100", "DISCORD_SHARD_IDS=0-7"}, exitOK, "Discord: ",
			"environment DISCORD_SHARD_COUNT: warning: shards.count: 100 may be refused (4010): large bots need a multiple of the number that Discord gave them, such as 16\n"},
		{"ids beyond the recommendation", 200, small, []string{"DISCORD_SHARD_IDS=0-3"}, exitUsage, "Discord: ",
			"environment DISCORD_SHARD_IDS: error: shards.ids: shard 3 is not below the shard count, which is 1\n"},
		{"refused token", 401, `{"message":"401: Unauthorized","code":0}`, nil, exitUnauthorized, "",
			"error: token: Discord refuses the token (401): it is wrong or was reset\n"},
		{"refused bot", 403, `{"message":"Forbidden","code":0}`, nil, exitForbidden, "",
			"error: token: Discord refuses this bot (403): \"Forbidden\"\n"},
		{"403 of Cloudflare", 403, `{"message":"internal network error","code":40333}`, nil, exitFailure, "",
			"error: GET /gateway/bot failed: HTTP status 403: \"internal network error\" with code 40333: not an answer of Discord itself"},
		{"address of somebody else", 200, strings.Replace(small, "gateway.discord.gg", "discord.gg.evil.example", 1), nil, exitFailure, "",
			"error: gateway.hosts: the gateway's address that 127.0.0.1:"},
		{"address that is allowed", 200, strings.Replace(small, "gateway.discord.gg", "gw.example.com", 1), []string{"DISCORD_GATEWAY_HOSTS=example.com"}, exitOK, "Discord: ", ""},
		{"token in the address", 200, strings.Replace(small, ".discord.gg", ".discord.gg/very.secret.token", 1), nil, exitOK,
			"Discord: ok: it recommends 1 shard; 999 of 1000 session starts left, anew in 4h0m0s; max_concurrency 1; gateway wss://gateway.discord.gg/***\n", ""},
		{"proxy in front", 502, "<html>", nil, exitFailure, "", "error: GET /gateway/bot failed: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(api(tc.status, tc.body))
			defer server.Close()
			t.Chdir(t.TempDir())
			o := runCommand(append([]string{
				"DISCORD_TOKEN=very.secret.token",
				"DISCORD_INTENTS=GUILDS",
				"DISCORD_API_PROTOCOL=http",
				"DISCORD_API_HOST=" + strings.TrimPrefix(server.URL, "http://"),
			}, tc.env...), "check", "--online")
			noSecret(t, o)
			if o.code != tc.code || !strings.HasPrefix(o.stdout, tc.stdout) || !strings.HasPrefix(o.stderr, tc.stderr) ||
				tc.stderr == "" && o.stderr != "" {
				t.Errorf("exit code %d\n%s%s\nwant %d\n%s%s", o.code, o.stdout, o.stderr, tc.code, tc.stdout, tc.stderr)
			}
			if ok := strings.Contains(o.stdout, "\nok: "); ok != (tc.code == exitOK) {
				t.Errorf("ok: %t, exit code %d", ok, o.code)
			}
		})
	}
}

// TestCheckOnlineTLS: a server with a certificate of its own is trusted with
// api.ca_file and not without.
func TestCheckOnlineTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(api(200, `{"url":"wss://127.0.0.1","shards":1,"session_start_limit":{"total":1,"remaining":1,"reset_after":0,"max_concurrency":1}}`))
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	defer server.Close()
	t.Chdir(t.TempDir())
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile("ca.pem", cert, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{
		"DISCORD_TOKEN=very.secret.token",
		"DISCORD_API_HOST=" + strings.TrimPrefix(server.URL, "https://"),
	}
	if o := runCommand(environ, "check", "-online"); o.code != exitFailure || !strings.Contains(o.stderr, "certificate") || !strings.Contains(o.stderr, "; api.ca_file ") {
		t.Errorf("without the file: %+v", o)
	}
	environ = append(environ, "DISCORD_API_CA_FILE="+filepath.Join(".", "ca.pem"))
	if o := runCommand(environ, "check", "-online"); o.code != exitOK {
		t.Errorf("with the file: %+v", o)
	}
}

// TestCheckOnlineNotAsked: with an address of the gateway and a shard count the API of Discord is
// none of the bot's business; one that is named is.
func TestCheckOnlineNotAsked(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(w, "no", http.StatusBadGateway)
	}))
	defer server.Close()
	t.Chdir(t.TempDir())
	environ := []string{
		"DISCORD_TOKEN=very.secret.token", "DISCORD_GATEWAY_URL=ws://127.0.0.1:1", "DISCORD_SHARD_COUNT=1",
		"DISCORD_PROXY=" + server.URL, // all that would be asked comes by here
	}
	if o := runCommand(environ, "check", "-online"); o.code != exitOK || asked.Load() != 0 || !strings.Contains(o.stdout, "not asked") {
		t.Errorf("asked %d times: %+v", asked.Load(), o)
	}
	environ = append(environ, "DISCORD_API_HOST=discord.example")
	if o := runCommand(environ, "check", "-online"); o.code != exitFailure || asked.Load() == 0 ||
		!strings.Contains(o.stderr, "CONNECT discord.example:443 is refused with HTTP status 502") {
		t.Errorf("asked %d times: %+v", asked.Load(), o)
	}
}
