// This file tests that secrets stay secret.

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestSecretsDoNotPrint prints a Config with secrets in every usual way.
func TestSecretsDoNotPrint(t *testing.T) {
	c := defaults()
	c.Token = "s3cret.s3cret.s3cret"
	c.AMQP.URLs = []SecretURL{"amqp://user:s3cret@host/vhost"}
	c.Redis.URLs = []SecretURL{"redis://:s3cret@host", "redis://host?password=s3cret"}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&out, verb+"\n", c.Token)
		fmt.Fprintf(&out, verb+"\n", c.AMQP.URLs)
		fmt.Fprintf(&out, verb+"\n", c.Redis)
		fmt.Fprintf(&out, verb+"\n", *c)
		fmt.Fprintf(&out, verb+"\n", c)
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("settings", "token", c.Token, "url", c.AMQP.URLs, "redis", c.Redis, "all", c)
	}
	out.WriteString(c.Format())
	for _, secret := range []string{"s3cret", fmt.Sprintf("%x", "s3cret")} {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("the secret was printed: …%.200s", out.String()[max(0, i-100):])
		}
	}
	if c.Token.Reveal() != "s3cret.s3cret.s3cret" || c.AMQP.URLs[0].Reveal() != "amqp://user:s3cret@host/vhost" {
		t.Error("Reveal changes the secret")
	}
}

func TestSecretURL(t *testing.T) {
	for url, want := range map[SecretURL]string{
		"":                                  "",
		"localhost:6379":                    "localhost:6379",
		"amqp://localhost":                  "amqp://localhost",
		"amqp://user@localhost":             "amqp://user@localhost",
		"amqp://user:pass@localhost:5672/v": "amqp://user:***@localhost:5672/v",
		"amqp://user:p@ss@localhost":        "amqp://user:***@localhost",
		"redis://:pass@localhost/0":         "redis://:***@localhost/0",
		"redis://pass@localhost/0":          "redis://***@localhost/0",
		"rediss://bob%3apass@localhost":     "rediss://***@localhost",
		"amqp://bob%3Apass@localhost":       "amqp://***@localhost",
		"redis://bob%3Apass:x@localhost":    "redis://***@localhost",
		"redis://localhost?password=pass":   "***",
		"amqp://user:pa/ss@localhost":       "***",
		"user:pass@localhost":               "***",
		"amqp://user:pass@local%zzhost":     "***",
	} {
		if got := url.String(); got != want {
			t.Errorf("%s prints as %s, want %s", url.Reveal(), got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	const shaped = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyz0123456789AB"
	if got := Redact("unknown command " + shaped + "!"); got != "unknown command ***!" {
		t.Error(got)
	}
	// A token that was put where it does not belong.
	_, problems := Load(Sources{File: writeFile(t, "token = 'very.secret.token'"), Environ: []string{
		"DISCORD_INTENTS=very.secret.token," + shaped, "DISCORD_PRESENCE={\"" + shaped + "\":1}",
	}})
	if text := fmt.Sprint(problems); strings.Contains(text, "very.secret") || strings.Contains(text, shaped) {
		t.Error(text)
	}
}

// TestSecrets: whichever setting a password is from, it is masked in what a broker or proxy says,
// as it is and as it is written in the address.
func TestSecrets(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://bob:env-pass@proxy:3128")
	for _, tt := range []struct {
		what    string
		config  Config
		secrets []string
	}{
		{"the token", Config{Token: "my.own.token"}, []string{"my.own.token"}},
		{"redis", Config{Redis: RedisConfig{URLs: []SecretURL{"redis://a:one1@h", "redis://bob:HUNTER2%2FPASS@h"}}},
			[]string{"one1", "HUNTER2/PASS", "HUNTER2%2FPASS"}},
		{"a lone user", Config{Redis: RedisConfig{URLs: []SecretURL{"redis://HUNTER2@h"}}}, []string{"HUNTER2"}},
		{"an escaped colon", Config{Redis: RedisConfig{URLs: []SecretURL{"redis://bob%3AHUNTER2@h"}}}, []string{"HUNTER2"}},
		{"no scheme", Config{Redis: RedisConfig{URLs: []SecretURL{"bob:HUNTER2@h:6379"}}}, []string{"HUNTER2"}},
		{"a parameter", Config{Redis: RedisConfig{URLs: []SecretURL{"redis://h?password=HUNTER2"}}}, []string{"HUNTER2"}},
		{"one in another", Config{Redis: RedisConfig{URLs: []SecretURL{"redis://a:pass@h", "redis://a:passHUNTER2@h"}}}, []string{"passHUNTER2"}},
		{"amqp", Config{AMQP: AMQPConfig{URLs: []SecretURL{"amqp://u:se%22cret@h", "amqp://u:pw12@h"}}},
			[]string{`se"cret`, `se\"cret`, "se%22cret", "pw12"}},
		{"proxy", Config{Proxy: "http://bob:proxy-pass@h:3128"}, []string{"proxy-pass", "Ym9iOnByb3h5LXBhc3M="}},
		{"the environment's proxy", Config{}, []string{"env-pass"}},
	} {
		for _, secret := range tt.secrets {
			text := "ERR unknown command `AUTH`, with args beginning with: 'bob' '" + secret + "' "
			if got := tt.config.Secrets().Redact(text); strings.Contains(got, secret) || strings.Contains(got, "HUNTER") || !strings.Contains(got, mask) || !strings.HasPrefix(got, "ERR unknown command `AUTH`") {
				t.Errorf("%s: %s", tt.what, got)
			}
		}
	}
	long := strings.Repeat("0123456789abcdef", 20)
	c := Config{Redis: RedisConfig{URLs: []SecretURL{SecretURL("redis://a:" + long + "@h")}}}
	if got := c.Secrets().Redact("args '" + long[:110] + "' '" + long[:40] + "' end"); got != "args '***' '***' end" {
		t.Errorf("a password that was cut: %s", got)
	}
	c = Config{Redis: RedisConfig{URLs: []SecretURL{"redis://a:abc@h", "localhost:6379"}}, AMQP: AMQPConfig{URLs: []SecretURL{"amqp://guest:guest@h"}}, Proxy: "none"}
	if got := c.Secrets(); len(got) > 0 {
		t.Errorf("%d secrets are searched for that would hit words: %q", len(got), []string(got))
	}
}

// TestCommonWords: a word of the log as a token or password does not turn the log into stars, nor
// tells by them what it is; and it is said that it is not masked. What is no such word is masked.
func TestCommonWords(t *testing.T) {
	const line = "the broker redis is unavailable; the gateway buffers events: ERR AUTH with args 'bob' "
	for _, word := range []string{"the", "gateway", "Gateway", "redis", "events", "password", "guest"} {
		c, problems := Load(Sources{Environ: []string{
			"DISCORD_TOKEN=" + word, "DISCORD_API_HOST=127.0.0.1:1", "DISCORD_INTENTS=GUILDS",
			"BROKER_TYPE=redis", "REDIS_URL=redis://bob:" + word + "@127.0.0.1:1", "DISCORD_PROXY=http://bob:" + word + "@127.0.0.1:1",
		}})
		warned := strings.Count(fmt.Sprint(problems), "password is not masked in the log")
		if problems.Failed() || warned != 2 && word != "guest" {
			t.Errorf("%s: %v", word, problems)
		}
		if got := c.Secrets().Redact(line); got != line {
			t.Errorf("%s: %s", word, got)
		}
	}
	for _, secret := range []string{"sim-token", "hunter", "correcthorse", "gateway7", "thegateway"} {
		c, problems := Load(Sources{Environ: []string{
			"DISCORD_TOKEN=" + secret, "DISCORD_API_HOST=127.0.0.1:1", "DISCORD_INTENTS=GUILDS", "BROKER_TYPE=redis", "REDIS_URL=redis://bob:" + secret + "@127.0.0.1:1",
		}})
		if len(problems) > 0 {
			t.Errorf("%s: %v", secret, problems)
		}
		if got := c.Secrets().Redact(line + "'" + secret + "'"); got != line+"'***'" {
			t.Errorf("%s: %s", secret, got)
		}
	}
}

// TestTokenOfFile: what an editor of Windows leaves around a token does not count, and no message
// shows a token that is not alone in its file.
func TestTokenOfFile(t *testing.T) {
	const token = "very.secret.token"
	for _, content := range []string{"\ufeff" + token + "\r\n", " Bot " + token + "\n", token} {
		c, problems := Load(Sources{Environ: []string{"DISCORD_TOKEN_FILE=" + writeFile(t, content), "DISCORD_INTENTS=GUILDS"}})
		if len(problems) > 0 || c.Token.Reveal() != token {
			t.Errorf("%q: %q, %v", content, c.Token.Reveal(), problems)
		}
	}
	for _, content := range []string{"DISCORD_TOKEN=" + token, "# x\r\nDISCORD_TOKEN = '" + token + "'\r\n", "token: " + token, `{"token":"` + token + `"}`, "export T=" + token} {
		_, problems := Load(Sources{Environ: []string{"DISCORD_TOKEN_FILE=" + writeFile(t, content), "DISCORD_INTENTS=GUILDS"}})
		if text := fmt.Sprint(problems); len(problems) != 1 || !strings.Contains(text, "there is a name before the value") || strings.Contains(text, token) {
			t.Errorf("%q: %v", content, problems)
		}
	}
}

// TestVariablesOfWindows: a byte order mark and a carriage return around a variable do not count.
func TestVariablesOfWindows(t *testing.T) {
	c, problems := Load(Sources{Environ: []string{
		"DISCORD_TOKEN=\ufeffa.b.c\r", "DISCORD_INTENTS=GUILDS\r", "BROKER_TYPE=redis\r", "REDIS_URL= redis://127.0.0.1:6379/\r\n", "DISCORD_API_HOST=\ufeff127.0.0.1:1 ",
	}})
	if len(problems) > 0 || c.Token.Reveal() != "a.b.c" || c.API.Host != "127.0.0.1:1" || c.Redis.URLs[0] != "redis://127.0.0.1:6379/" {
		t.Errorf("%+v: %v", c, problems)
	}
}
