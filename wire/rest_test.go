// This file tests the call of Discord's REST API and the gateway's address.

package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const botToken = "MTg5.Xy-z_0.secret"

const gatewayBot = `{"url":"wss://gateway.discord.gg","shards":9,"session_start_limit":` +
	`{"total":1000,"remaining":999,"reset_after":14400000,"max_concurrency":16}}`

// ask answers GET /gateway/bot with handler.
func ask(t *testing.T, handler http.HandlerFunc) (GatewayBot, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	api := API{Base: server.URL + "/api/v10", Token: botToken, UserAgent: "DiscordBot (x, 1)", Client: server.Client()}
	return api.GatewayBot(t.Context())
}

func TestGatewayBot(t *testing.T) {
	got, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		for key, want := range map[string]string{"Authorization": "Bot " + botToken, "User-Agent": "DiscordBot (x, 1)"} {
			if r.Header.Get(key) != want {
				t.Errorf("%s: %q", key, r.Header.Get(key))
			}
		}
		if r.Method != "GET" || r.RequestURI != "/api/v10/gateway/bot" {
			t.Errorf("%s %s", r.Method, r.RequestURI)
		}
		io.WriteString(w, gatewayBot)
	})
	want := GatewayBot{"wss://gateway.discord.gg", 9, SessionStartLimit{1000, 999, 4 * time.Hour, 16}}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestGatewayBotErrors(t *testing.T) {
	const page = "<!DOCTYPE html>\n<html><title>Access denied</title>Cloudflare</html>"
	for _, c := range []struct {
		name    string
		status  int
		header  string // Retry-After
		body    string
		want    APIError // Message: contained
		isFatal bool
	}{
		{"401", 401, "", `{"message":"401: Unauthorized","code":0}`, APIError{401, "401: Unauthorized", 0, false}, true},
		{"401 of a proxy", 401, "", page, APIError{401, "proxy", 0, true}, true},
		{"403", 403, "", `{"message":"Missing Access","code":50001}`, APIError{403, "Missing Access", 0, false}, true},
		{"403 of Cloudflare", 403, "", page, APIError{403, "proxy", 0, true}, false},
		{"429", 429, "2", `{"message":"You are being rate limited.","retry_after":1.337,"global":false}`,
			APIError{429, "You are being rate limited.", 1337 * time.Millisecond, false}, false},
		{"429, header alone", 429, "65", `{"message":"slow"}`, APIError{429, "slow", 65 * time.Second, false}, false},
		{"429 of Cloudflare", 429, "", "error code: 1015\n", APIError{429, "error code: 1015", 0, true}, false},
		{"429 of Cloudflare with a header", 429, "600", "error code: 1015", APIError{429, "error code: 1015", 10 * time.Minute, true}, false},
		{"429 for ever", 429, "", `{"message":"x","retry_after":1e300}`, APIError{429, "x", 24 * time.Hour, false}, false},
		{"429 with a bad header", 429, "NaN", `{"message":"x","retry_after":-1}`, APIError{429, "x", 0, false}, false},
		{"429 with a date", 429, "Wed, 21 Oct 2026 07:28:00 GMT", `{"message":"x"}`, APIError{429, "x", 0, false}, false},
		{"500", 500, "", `{"message":"Internal Server Error","code":0}`, APIError{500, "Internal Server Error", 0, false}, false},
		{"502", 502, "", page, APIError{502, "proxy", 0, true}, false},
		{"503 without a body", 503, "", "", APIError{503, "proxy", 0, true}, false},
		{"204", 204, "", "", APIError{204, "", 0, true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			var e *APIError
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Status != c.want.Status || e.RetryAfter != c.want.RetryAfter || e.Cloudflare != c.want.Cloudflare ||
				!strings.Contains(e.Message, c.want.Message) {
				t.Errorf("%+v; want %+v", *e, c.want)
			}
			if e.Fatal() != c.isFatal {
				t.Errorf("Fatal() = %v", e.Fatal())
			}
			if strings.ContainsAny(err.Error(), "\n<") {
				t.Errorf("error %q", err)
			}
		})
	}
}

// Answers of 200 that Discord does not document.
func TestGatewayBotShapes(t *testing.T) {
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `"wss://x"`, `{"url":`, gatewayBot + "x", gatewayBot[:len(gatewayBot)-1],
		strings.Replace(gatewayBot, `"wss://gateway.discord.gg"`, `1`, 1),
		strings.Replace(gatewayBot, `"wss://gateway.discord.gg"`, `null`, 1),
		strings.Replace(gatewayBot, `wss://`, `https://`, 1),
		strings.Replace(gatewayBot, `wss://gateway.discord.gg`, `wss://`, 1),
		strings.Replace(gatewayBot, `wss://gateway.discord.gg`, `wss://%zz`, 1),
		strings.Replace(gatewayBot, `"shards":9`, `"shards":0`, 1),
		strings.Replace(gatewayBot, `"shards":9`, `"shards":-1`, 1),
		strings.Replace(gatewayBot, `"shards":9`, `"shards":"9"`, 1),
		strings.Replace(gatewayBot, `"shards":9`, `"shards":9.5`, 1),
		strings.Replace(gatewayBot, `"max_concurrency":16`, `"max_concurrency":0`, 1),
		strings.Replace(gatewayBot, `session_start_limit`, `limit`, 1),
		strings.Replace(gatewayBot, `14400000`, `1e99`, 1),
		strings.Repeat(" ", maxAnswer) + gatewayBot,
		`<html>captive portal</html>`,
	} {
		got, err := ask(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		if err == nil || got != (GatewayBot{}) || !strings.HasPrefix(err.Error(), "wire: ") {
			t.Errorf("%.100q: %+v, %v", strings.TrimSpace(body), got, err)
		}
		if e := (*APIError)(nil); errors.As(err, &e) {
			t.Errorf("%.100q: an APIError for status 200", body)
		}
	}
	// What is in the past, or does not fit a time.Duration.
	for reset, want := range map[string]time.Duration{"-5": 0, "0": 0, "86400000": 24 * time.Hour, "9223372036854775807": 24 * time.Hour} {
		got, err := parseGatewayBot([]byte(strings.Replace(gatewayBot, "14400000", reset, 1)))
		if err != nil || got.Limit.ResetAfter != want {
			t.Errorf("reset_after %s: %v, %v", reset, got.Limit.ResetAfter, err)
		}
	}
}

// No error holds the token, whatever goes wrong.
func TestGatewayBotToken(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) { // a careless proxy
		if r.Header.Get("Authorization") != "Bot "+botToken {
			t.Error("the token did not arrive")
		}
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, "refused: "+r.Header.Get("Authorization"))
	}
	echoJSON := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"message":"`+r.Header.Get("Authorization")+`"}`)
	}
	echoURL := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Replace(gatewayBot, "wss://", r.Header.Get("Authorization"), 1))
	}
	cut := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "{")
	}
	for name, handler := range map[string]http.HandlerFunc{"echo": echo, "JSON echo": echoJSON, "URL echo": echoURL, "cut": cut} {
		if _, err := ask(t, handler); err == nil || strings.Contains(err.Error(), botToken) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for name, api := range map[string]API{
		"no server":       {Base: "http://127.0.0.1:0", Token: botToken},
		"no address":      {Base: "://", Token: botToken},
		"bad token":       {Base: "http://127.0.0.1:0", Token: botToken + "\n"},
		"bad user agent":  {Base: "http://127.0.0.1:0", Token: botToken, UserAgent: "\n"},
		"unknown scheme":  {Base: "gopher://127.0.0.1", Token: botToken},
		"empty and alone": {Token: botToken},
	} {
		if _, err := api.GatewayBot(t.Context()); err == nil || strings.Contains(err.Error(), botToken) || !strings.HasPrefix(err.Error(), "wire: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&API{Base: "http://127.0.0.1:0"}).GatewayBot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestGatewayURL(t *testing.T) {
	for _, c := range []struct {
		base string
		c    Compression
		want string // "": refused
	}{
		{"wss://gateway.discord.gg", CompressionNone, "wss://gateway.discord.gg/?encoding=json&v=10"},
		{"wss://gateway.discord.gg/", CompressionZstd, "wss://gateway.discord.gg/?compress=zstd-stream&encoding=json&v=10"},
		{"wss://gateway.discord.gg", CompressionZlib, "wss://gateway.discord.gg/?compress=zlib-stream&encoding=json&v=10"},
		{"wss://gateway.discord.gg", CompressionPayload, "wss://gateway.discord.gg/?encoding=json&v=10"},
		{"wss://gateway.discord.gg/?v=9&encoding=etf&compress=zlib-stream&x=1", CompressionNone, "wss://gateway.discord.gg/?encoding=json&v=10&x=1"},
		{"wss://gateway.discord.gg?x=%26", CompressionZstd, "wss://gateway.discord.gg/?compress=zstd-stream&encoding=json&v=10&x=%26"},
		{"ws://127.0.0.1:8080", CompressionZstd, "ws://127.0.0.1:8080/?compress=zstd-stream&encoding=json&v=10"},
		{"ws://[::1]:8080/a/b", CompressionNone, "ws://[::1]:8080/a/b?encoding=json&v=10"},
		{"WSS://GATEWAY.discord.gg", CompressionNone, "wss://GATEWAY.discord.gg/?encoding=json&v=10"},
		{"https://gateway.discord.gg", CompressionNone, ""},
		{"gateway.discord.gg", CompressionNone, ""},
		{"wss://", CompressionNone, ""},
		{"wss:///path", CompressionNone, ""},
		{"wss://%zz", CompressionNone, ""},
		{"", CompressionNone, ""},
	} {
		u, err := GatewayURL(c.base, 10, c.c)
		switch {
		case c.want == "" && (err == nil || !strings.HasPrefix(err.Error(), "wire: ")):
			t.Errorf("%q: %v, %v", c.base, u, err)
		case c.want != "" && (err != nil || u.String() != c.want):
			t.Errorf("%q: %v, %v; want %s", c.base, u, err, c.want)
		}
	}
}
