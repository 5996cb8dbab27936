// This file answers REST calls: where the gateway is, how often one may
// identify, and what libraries ask at start.

package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// rest answers one call.
func (srv *Server) rest(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	srv.opt.Log.Info("REST", "method", r.Method, "path", r.URL.Path)
	for _, rule := range srv.rules(OnREST, RoleAPI, -1, 0, 0) {
		srv.noteFault(0, -1, rule.Do.Kind)
		switch a := rule.Do; a.Kind {
		case RateLimitJSON:
			discordLimit(w, a.Delay, false)
			return
		case RateLimitHTML:
			cloudflareLimit(w, a.Delay)
			return
		case ServerError, RefuseUpgrade:
			htmlError(w, orStatus(a.Status, http.StatusBadGateway))
			return
		case HalfOpen, SilentDial, CutFIN, CutRST:
			if nc, _, err := http.NewResponseController(w).Hijack(); err == nil {
				if a.Kind == HalfOpen || a.Kind == SilentDial {
					srv.gates[RoleAPI].hold(nc)
				} else {
					nc.Close()
				}
			}
			return
		}
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/api")
	if !ok {
		jsonError(w, http.StatusNotFound, "404: Not Found")
		return
	}
	path = strings.TrimSuffix(path, "/")
	if v, ok := strings.CutPrefix(path, "/v"); ok {
		version, rest, _ := strings.Cut(v, "/")
		if n := apiVersion(version); n < 6 || n > 10 {
			jsonError(w, http.StatusBadRequest, "Invalid API version")
			return
		}
		path = "/" + rest
	}
	if path == "/gateway" && r.Method == http.MethodGet {
		writeJSON(w, http.StatusOK, `{"url":`+strconv.Quote(srv.GatewayURL())+`}`)
		return
	}
	if srv.byToken(w, r, path) {
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bot ")
	if !ok || !srv.tokenIs(token) {
		jsonError(w, http.StatusUnauthorized, "401: Unauthorized")
		return
	}
	left, reset := srv.countCall()
	if left < 0 {
		discordLimit(w, reset, true)
		return
	}
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(srv.opt.RESTLimit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(left))
	h.Set("X-RateLimit-Reset", strconv.FormatFloat(float64(time.Now().Add(reset).UnixMilli())/1000, 'f', 3, 64))
	h.Set("X-RateLimit-Reset-After", strconv.FormatFloat(reset.Seconds(), 'f', 3, 64))
	h.Set("X-RateLimit-Bucket", "41f9cd5d28af77da04563bcb1d67fdfd")

	user := fmt.Sprintf(`{"verified":true,"username":%q,"mfa_enabled":true,"id":"%d","global_name":null,"flags":0,`+
		`"email":null,"discriminator":%q,"bot":true,"avatar":null}`, botName, botID, botDiscriminator)
	app := fmt.Sprintf(`{"verify_key":"00","summary":"","name":%q,"id":"%d","icon":null,"flags":41975808,"description":"",`+
		`"bot_require_code_grant":false,"bot_public":false,"bot":%s,"owner":%s}`, botName, botID, user, user)
	switch {
	case r.Method == http.MethodGet && path == "/gateway/bot":
		writeJSON(w, http.StatusOK, srv.gatewayBot())
	case r.Method == http.MethodGet && path == "/users/@me":
		writeJSON(w, http.StatusOK, user)
	case r.Method == http.MethodGet && (path == "/oauth2/applications/@me" || path == "/applications/@me"):
		writeJSON(w, http.StatusOK, app)
	case strings.HasPrefix(path, "/applications/") && strings.HasSuffix(path, "/commands"):
		writeJSON(w, http.StatusOK, `[]`)
	default:
		jsonError(w, http.StatusNotFound, "404: Not Found")
	}
}

// hold keeps a connection open without a word until the gate opens or closes.
func (g *gate) hold(nc io.Closer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held[nc] = struct{}{}
}

// gatewayBot returns the answer to GET /gateway/bot as it is now.
func (srv *Server) gatewayBot() string {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	now := time.Now()
	srv.renewBudgetLocked(now)
	after := srv.windowStart.Add(srv.opt.IdentifyReset).Sub(now)
	return fmt.Sprintf(`{"url":%q,"shards":%d,"session_start_limit":{"total":%d,"remaining":%d,"reset_after":%d,"max_concurrency":%d}}`,
		srv.GatewayURL(), srv.opt.Shards, srv.opt.IdentifyTotal, srv.remaining, after.Milliseconds(), srv.opt.MaxConcurrency)
}

// countCall counts a call and returns how many are left in this second, less
// than zero for one too many, and when the next is free.
func (srv *Server) countCall() (left int, reset time.Duration) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	now := time.Now()
	srv.calls = recent(srv.calls, now, time.Second)
	if len(srv.calls) >= srv.opt.RESTLimit {
		return -1, srv.calls[0].Add(time.Second).Sub(now)
	}
	srv.calls = append(srv.calls, now)
	return srv.opt.RESTLimit - len(srv.calls), srv.calls[0].Add(time.Second).Sub(now)
}

func writeJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func jsonError(w http.ResponseWriter, status int, message string) {
	body, _ := json.Marshal(struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
	}{message, 0})
	writeJSON(w, status, string(body))
}

// discordLimit is a 429 of Discord's own.
func discordLimit(w http.ResponseWriter, wait time.Duration, global bool) {
	if wait <= 0 {
		wait = time.Second
	}
	h := w.Header()
	h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	h.Set("X-RateLimit-Scope", "user")
	if global {
		h.Set("X-RateLimit-Global", "true")
		h.Set("X-RateLimit-Scope", "global")
	}
	writeJSON(w, http.StatusTooManyRequests, fmt.Sprintf(`{"message":"You are being rate limited.","retry_after":%.3f,"global":%t}`,
		wait.Seconds(), global))
}

// cloudflareLimit is a 429 of the proxy in front of Discord: no JSON, and
// Retry-After only if there is a wait.
func cloudflareLimit(w http.ResponseWriter, wait time.Duration) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=UTF-8")
	h.Set("Server", "cloudflare")
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	w.WriteHeader(http.StatusTooManyRequests)
	io.WriteString(w, "error code: 1015")
}

func htmlError(w http.ResponseWriter, status int) {
	h := w.Header()
	h.Set("Content-Type", "text/html")
	h.Set("Server", "cloudflare")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%[1]d %[2]s</h1></center>\r\n"+
		"<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n", status, http.StatusText(status))
}

func orStatus(status, otherwise int) int {
	if status == 0 {
		return otherwise
	}
	return status
}
