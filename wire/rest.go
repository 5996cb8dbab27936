// This file asks Discord's REST API where the gateway is.

package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// API is Discord's REST API as far as a gateway needs it. Its fields are fixed
// once it is in use; any goroutine may then call it.
type API struct {
	Base      string       // such as https://discord.com/api/v10
	Token     string       // without "Bot "
	UserAgent string       // DiscordBot (<url>, <version>)
	Client    *http.Client // http.DefaultClient if nil
}

// GatewayBot is the answer to GET /gateway/bot.
type GatewayBot struct {
	URL    string // of the gateway, wss:// or ws://
	Shards int    // recommended shard count
	Limit  SessionStartLimit
}

// SessionStartLimit is the budget of Identifies. Discord resets the token of a
// bot that overdraws it.
type SessionStartLimit struct {
	Total          int
	Remaining      int
	ResetAfter     time.Duration
	MaxConcurrency int // Identifies in each 5 s, one for each shard id modulo this
}

// APIError is an answer other than 200.
type APIError struct {
	Status     int
	Message    string        // one line
	RetryAfter time.Duration // when to ask again; 0: the answer does not say
	Cloudflare bool          // not Discord's own answer but that of the proxy in front: an address block, or an outage
}

func (e *APIError) Error() string {
	return fmt.Sprintf("HTTP status %d: %s", e.Status, e.Message)
}

// Fatal reports whether asking again is of no use: the token is wrong (401) or
// the bot is refused (403).
func (e *APIError) Fatal() bool {
	return e.Status == 401 || e.Status == 403 && !e.Cloudflare
}

// maxReset bounds a reset_after in milliseconds, which Discord counts within a
// day, so that it can be computed with.
const maxReset = 24 * 60 * 60 * 1000

// maxAnswer bounds an answer in bytes; the real one has about 200.
const maxAnswer = 1 << 20

// GatewayBot calls GET /gateway/bot. An answer other than 200 is an *APIError.
// No error contains the token.
func (a *API) GatewayBot(ctx context.Context) (GatewayBot, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Base+"/gateway/bot", nil)
	if err != nil {
		return GatewayBot{}, fmt.Errorf("wire: GET /gateway/bot: %w", err)
	}
	req.Header.Set("Authorization", "Bot "+a.Token)
	req.Header.Set("User-Agent", a.UserAgent)
	req.Header.Set("Accept", "application/json")
	client := a.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return GatewayBot{}, fmt.Errorf("wire: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return GatewayBot{}, fmt.Errorf("wire: GET /gateway/bot: %w", err)
	}
	if a.Token != "" { // errors quote the answer, which may quote the request
		body = bytes.ReplaceAll(body, []byte(a.Token), []byte("[token]"))
	}
	if resp.StatusCode != http.StatusOK {
		return GatewayBot{}, apiError(resp, body)
	}
	info, err := parseGatewayBot(body)
	if err != nil {
		return info, fmt.Errorf("wire: GET /gateway/bot: %w", err)
	}
	return info, nil
}

func parseGatewayBot(body []byte) (GatewayBot, error) {
	var answer struct {
		URL    string `json:"url"`
		Shards int    `json:"shards"`
		Limit  struct {
			Total          int   `json:"total"`
			Remaining      int   `json:"remaining"`
			ResetAfter     int64 `json:"reset_after"` // milliseconds
			MaxConcurrency int   `json:"max_concurrency"`
		} `json:"session_start_limit"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return GatewayBot{}, fmt.Errorf("the answer is not what Discord documents: %w", err)
	}
	u, err := url.Parse(answer.URL)
	switch {
	case err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "":
		return GatewayBot{}, fmt.Errorf("url is %.100q, not a wss:// or ws:// address", answer.URL)
	case answer.Shards < 1:
		return GatewayBot{}, fmt.Errorf("shards is %d", answer.Shards)
	case answer.Limit.MaxConcurrency < 1:
		return GatewayBot{}, errors.New("session_start_limit.max_concurrency is missing")
	}
	return GatewayBot{
		URL:    answer.URL,
		Shards: answer.Shards,
		Limit: SessionStartLimit{
			Total:          answer.Limit.Total,
			Remaining:      answer.Limit.Remaining,
			ResetAfter:     min(time.Duration(max(0, answer.Limit.ResetAfter)), maxReset) * time.Millisecond,
			MaxConcurrency: answer.Limit.MaxConcurrency,
		},
	}, nil
}

// apiError reads an error answer: Discord's JSON, or whatever a proxy says.
func apiError(resp *http.Response, body []byte) *APIError {
	e := &APIError{Status: resp.StatusCode}
	if seconds, err := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64); err == nil {
		e.RetryAfter = retryAfter(seconds)
	}
	var answer struct {
		Message    string  `json:"message"`
		RetryAfter float64 `json:"retry_after"` // seconds
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		e.Cloudflare = true
		e.Message = "not an answer of Discord itself but of a proxy before it"
		if line := firstLine(body); line != "" && !strings.Contains(line, "<") {
			e.Message += fmt.Sprintf(" (%.80q)", line)
		}
		return e
	}
	e.Message = fmt.Sprintf("%.200q", answer.Message)
	if answer.RetryAfter > 0 {
		e.RetryAfter = retryAfter(answer.RetryAfter)
	}
	return e
}

// retryAfter returns a wait in seconds as a duration, at most a day.
func retryAfter(seconds float64) time.Duration {
	if !(seconds > 0) {
		return 0 // NaN included
	}
	return time.Duration(min(seconds, 24*60*60) * float64(time.Second))
}

func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return line
}
