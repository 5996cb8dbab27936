// This file asks Discord's REST API where the gateway is.

package wire

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// API is Discord's REST API as far as a gateway needs it. Its fields are fixed
// once it is in use; any goroutine may then call it. It follows no redirect: the token
// is for Base alone.
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

// AssumedStartLimit is what Discord gives a bot of so many shards at least. For the figures see
// "Sessions Start Limit" in its documentation: 1,000 a day, and for the largest bots 5 for each 1,000 guilds.
func AssumedStartLimit(shards int) SessionStartLimit {
	total := max(1000, 5*shards)
	return SessionStartLimit{Total: total, Remaining: total, ResetAfter: 24 * time.Hour}
}

// APIError is an answer other than 200.
type APIError struct {
	Status     int
	Message    string        // one line
	RetryAfter time.Duration // when to ask again; 0: the answer does not say
	Cloudflare bool          // not surely Discord's own answer but that of a proxy in front: an address block, or an outage
}

func (e *APIError) Error() string {
	return fmt.Sprintf("HTTP status %d: %s", e.Status, e.Message)
}

// Fatal reports whether asking again is of no use: the token is wrong (401) or
// the bot is refused (403), and it is Discord that says so.
func (e *APIError) Fatal() bool {
	return (e.Status == 401 || e.Status == 403) && !e.Cloudflare
}

// finalCodes are the JSON error codes with which Discord itself answers 401 and 403 to a bot
// that asks for its gateway. 40333 is none of them: it is Cloudflare's, about the address or
// the User-Agent.
var finalCodes = []string{
	"0",     // 401: Unauthorized, 403: Forbidden
	"20001", // bots cannot use this endpoint
	"40001", // unauthorized
	"40002", // the account has to be verified
	"50001", // missing access
	"50014", // invalid authentication token
}

// maxReset bounds a reset_after in milliseconds, which Discord counts within a
// day, so that it can be computed with.
const maxReset = 24 * 60 * 60 * 1000

const (
	// maxAnswer bounds an answer in bytes; the real one has about 200.
	maxAnswer = 64 << 10
	// MaxShards bounds the shard count. The largest bots have a few thousand.
	MaxShards = 1 << 16
	// MaxURL bounds a gateway's address in bytes.
	MaxURL = 512
)

// GatewayBot calls GET /gateway/bot. An answer other than 200 is an *APIError.
// No error contains the token.
func (a *API) GatewayBot(ctx context.Context) (GatewayBot, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Base+"/gateway/bot", nil)
	if err != nil {
		return GatewayBot{}, a.masked("wire: GET /gateway/bot: ", err)
	}
	req.Header.Set("Authorization", "Bot "+a.Token)
	req.Header.Set("User-Agent", a.UserAgent)
	req.Header.Set("Accept", "application/json")
	client := http.Client{}
	if a.Client != nil {
		client = *a.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		var untrusted *tls.CertificateVerificationError
		if errors.As(err, &untrusted) {
			err = &UntrustedError{err}
		}
		return GatewayBot{}, a.masked("wire: ", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return GatewayBot{}, a.masked("wire: GET /gateway/bot: ", err)
	}
	if resp.StatusCode != http.StatusOK {
		return GatewayBot{}, a.apiError(resp, body)
	}
	info, err := parseGatewayBot(body)
	if err != nil {
		return GatewayBot{}, a.masked("wire: GET /gateway/bot: ", err)
	}
	return info, nil
}

// minMask is the length below which a token is not searched for: it would hit words.
const minMask = 6

// mask returns a text that may quote an answer, which may quote the request, without the
// token. It is for what is printed alone: an answer is parsed as it came.
func (a *API) mask(text string) string {
	if len(a.Token) < minMask {
		return text
	}
	quoted := strconv.Quote(a.Token)
	return strings.NewReplacer(a.Token, "[token]", quoted[1:len(quoted)-1], "[token]").Replace(text)
}

// masked returns err, which may quote an answer, with prefix and without the token.
func (a *API) masked(prefix string, err error) error {
	return &maskedError{fmt.Sprintf("%s%.500s", prefix, a.mask(err.Error())), err}
}

// UntrustedError is an answer whose certificate API.Client does not trust.
type UntrustedError struct{ Err error }

func (e *UntrustedError) Error() string { return e.Err.Error() }
func (e *UntrustedError) Unwrap() error { return e.Err }

type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }

func parseGatewayBot(body []byte) (GatewayBot, error) {
	if len(body) > maxAnswer {
		return GatewayBot{}, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
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
	limit := answer.Limit
	switch {
	case len(answer.URL) > MaxURL:
		return GatewayBot{}, fmt.Errorf("url has %d bytes, more than %d", len(answer.URL), MaxURL)
	case err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "":
		return GatewayBot{}, fmt.Errorf("url is %.100q, not a wss:// or ws:// address", answer.URL)
	case answer.Shards < 1 || answer.Shards > MaxShards:
		return GatewayBot{}, fmt.Errorf("shards is %d, not between 1 and %d", answer.Shards, MaxShards)
	case limit.MaxConcurrency == 0:
		return GatewayBot{}, errors.New("session_start_limit.max_concurrency is missing")
	case limit.MaxConcurrency < 1 || limit.Total < 0 || limit.Remaining < 0:
		return GatewayBot{}, fmt.Errorf("session_start_limit has a number below 0: total %d, remaining %d, max_concurrency %d",
			limit.Total, limit.Remaining, limit.MaxConcurrency)
	}
	return GatewayBot{
		URL:    answer.URL,
		Shards: answer.Shards,
		Limit: SessionStartLimit{
			Total:          limit.Total,
			Remaining:      limit.Remaining,
			ResetAfter:     min(time.Duration(max(0, limit.ResetAfter)), maxReset) * time.Millisecond,
			MaxConcurrency: limit.MaxConcurrency,
		},
	}, nil
}

// apiError reads an error answer: Discord's JSON, or whatever a proxy says.
func (a *API) apiError(resp *http.Response, body []byte) *APIError {
	e := &APIError{Status: resp.StatusCode}
	if seconds, err := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64); err == nil {
		e.RetryAfter = retryAfter(seconds)
	}
	if to := resp.Header.Get("Location"); e.Status/100 == 3 && to != "" {
		e.Message = fmt.Sprintf("a redirect to %.100q, which is not followed: the token is for %s alone", a.mask(to), resp.Request.URL.Host)
		return e
	}
	const proxy = "not an answer of Discord itself but of a proxy before it"
	var answer struct {
		Message    string          `json:"message"`
		RetryAfter float64         `json:"retry_after"` // seconds
		Code       json.RawMessage `json:"code"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		e.Cloudflare = true
		e.Message = proxy
		if line := firstLine(body); line != "" && !strings.Contains(line, "<") {
			e.Message += fmt.Sprintf(" (%.80q)", a.mask(line))
		}
		return e
	}
	e.Message = fmt.Sprintf("%.200q", a.mask(answer.Message))
	if answer.RetryAfter > 0 {
		e.RetryAfter = retryAfter(answer.RetryAfter)
	}
	if code := string(answer.Code); (e.Status == 401 || e.Status == 403) && !slices.Contains(finalCodes, code) {
		e.Cloudflare = true
		if _, err := strconv.Atoi(code); err != nil {
			code = "none"
		}
		e.Message += fmt.Sprintf(" with code %.20s: %s", code, proxy)
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
