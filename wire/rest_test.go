// This file tests the call of Discord's REST API and the gateway's address.

package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
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

// Discord's refusals are final, those of a proxy between are not, and neither is taken for the
// other.
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
		{"401 of a proxy", 401, "", page, APIError{401, "proxy", 0, true}, false},
		{"401 of a proxy in JSON", 401, "", `{"message":"Authentication required"}`, APIError{401, "required\" with code none: not an answer of Discord", 0, true}, false},
		{"401 with a code that is text", 401, "", `{"message":"401: Unauthorized","code":"0"}`, APIError{401, "proxy", 0, true}, false},
		{"403 of Discord", 403, "", `{"message":"403: Forbidden","code":0}`, APIError{403, "403: Forbidden", 0, false}, true},
		{"403 of Cloudflare in JSON", 403, "", `{"message":"internal network error","code":40333}`, APIError{403, "internal network error\" with code 40333: not", 0, true}, false},
		{"403 of a proxy in JSON", 403, "7", `{"error":"denied by policy","code":403}`, APIError{403, "code 403", 7 * time.Second, true}, false},
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
		{"301", 301, "", page, APIError{301, "a redirect to \"http://elsewhere/api\", which is not followed", 0, false}, false},
		{"204", 204, "", "", APIError{204, "", 0, true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				if c.status/100 == 3 {
					w.Header().Set("Location", "http://elsewhere/api")
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
		strings.Replace(gatewayBot, `"shards":9`, `"shards":65537`, 1),
		strings.Replace(gatewayBot, `"shards":9`, `"shards":1000000000`, 1),
		strings.Replace(gatewayBot, `"max_concurrency":16`, `"max_concurrency":-1`, 1),
		strings.Replace(gatewayBot, `"remaining":999`, `"remaining":-1`, 1),
		strings.Replace(gatewayBot, `gateway.discord.gg`, strings.Repeat("a", MaxURL), 1),
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
		io.WriteString(w, `{"message":"`+r.Header.Get("Authorization")+`","code":"`+r.Header.Get("Authorization")+`"}`)
	}
	echoStatus := func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(conn, "%s\r\n\r\n", r.Header.Get("Authorization"))
		conn.Close()
	}
	echoNumber := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Replace(gatewayBot, "9", `1e`+strings.Repeat("9", 20), 1))
	}
	echoLocation := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://x/"+r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusFound)
	}
	echoBadLocation := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://%zz/"+r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusFound)
	}
	echoURL := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Replace(gatewayBot, "wss://", r.Header.Get("Authorization"), 1))
	}
	cut := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "{")
	}
	for name, handler := range map[string]http.HandlerFunc{"echo": echo, "JSON echo": echoJSON, "URL echo": echoURL, "cut": cut,
		"status echo": echoStatus, "number": echoNumber, "redirect echo": echoLocation, "bad redirect echo": echoBadLocation} {
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
	// A token that is part of the answer's own words changes nothing of what is read.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, gatewayBot) }))
	defer server.Close()
	for _, token := range []string{"x", "9", "max_concurrency", "gateway.discord.gg"} {
		got, err := (&API{Base: server.URL, Token: token}).GatewayBot(t.Context())
		if err != nil || got.Limit.MaxConcurrency != 16 || got.URL != "wss://gateway.discord.gg" {
			t.Errorf("token %q: %+v, %v", token, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&API{Base: "http://127.0.0.1:0"}).GatewayBot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A redirect is not followed, to wherever it leads: not even the host may have the token
// over http that has it over https.
func TestGatewayBotRedirect(t *testing.T) {
	var followed atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		followed.Store(true)
		io.WriteString(w, gatewayBot)
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		_, err := ask(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		var e *APIError
		if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Message, "not followed") || e.Fatal() {
			t.Errorf("%d: %v", status, err)
		}
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
}

// FuzzGatewayBot: whatever comes, of whatever status, an answer is within the bounds or an
// error is one line, final only with a code of Discord.
func FuzzGatewayBot(f *testing.F) {
	f.Add(200, "", "", []byte(gatewayBot))
	f.Add(200, "", "", []byte(`{"url":"ws://x","shards":65536,"session_start_limit":{"max_concurrency":1000000000}}`))
	f.Add(401, "", "", []byte(`{"message":"401: Unauthorized","code":0}`))
	f.Add(403, "1e300", "", []byte(`{"message":"internal network error","code":40333}`))
	f.Add(429, "65", "", []byte(`{"message":"slow","retry_after":1.5}`))
	f.Add(302, "", "http://elsewhere/"+botToken, []byte("<html>"))
	f.Add(502, "", "", []byte("refused: Bot "+botToken))
	f.Fuzz(func(t *testing.T, status int, retry, location string, body []byte) {
		answer := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {retry}, "Location": {location}}, Body: io.NopCloser(bytes.NewReader(body))}
		api := API{Base: "https://discord.com/api/v10", Token: botToken, Client: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			answer.Request = r
			return answer, nil
		})}}
		got, err := api.GatewayBot(t.Context())
		if err == nil {
			l := got.Limit
			if status != 200 || got.Shards < 1 || got.Shards > MaxShards || len(got.URL) > MaxURL || l.MaxConcurrency < 1 ||
				l.Total < 0 || l.Remaining < 0 || l.ResetAfter < 0 || l.ResetAfter > 24*time.Hour {
				t.Errorf("%+v", got)
			}
			return
		}
		if text := err.Error(); strings.Contains(text, botToken) || strings.ContainsAny(text, "\r\n") || len(text) > 2000 {
			t.Errorf("error %q", text)
		}
		var e *APIError
		if !errors.As(err, &e) {
			return
		}
		if e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour {
			t.Errorf("asked again after %v", e.RetryAfter)
		}
		if e.Fatal() {
			var j struct{ Code *int }
			if json.Unmarshal(body, &j) != nil || j.Code == nil || *j.Code == 40333 || status != 401 && status != 403 {
				t.Errorf("%d %q is final", status, body)
			}
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

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
