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
