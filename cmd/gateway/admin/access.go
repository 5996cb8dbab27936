// This file decides who may ask for what.

package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// level is what a route needs.
type level int

const (
	open level = iota // nothing
	view              // the token, unless the request is from this machine, or by the socket
	act               // the token, unless the request is by the socket
)

// contentPolicy is the page's Content-Security-Policy, and that of everything else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// refusal is an answer to a request that is not let in.
type refusal struct {
	code  int
	text  string
	close bool // the connection, which has a body on it that nobody reads
	slow  bool
}

// checkShape refuses what no client of ours sends.
func (e *entry) checkShape(r *http.Request) *refusal {
	switch {
	case r.ProtoMajor != 1:
		return &refusal{code: http.StatusHTTPVersionNotSupported, text: "this is HTTP/1.1", close: true}
	case len(r.TransferEncoding) > 0:
		return &refusal{code: http.StatusLengthRequired, text: "a body needs a Content-Length", close: true}
	case r.ContentLength > e.s.limits.bodyBytes:
		return &refusal{code: http.StatusRequestEntityTooLarge, text: "the body is too large", close: true}
	case r.ContentLength != 0 && r.Method != http.MethodPost:
		return &refusal{code: http.StatusBadRequest, text: r.Method + " has no body here", close: true}
	}
	return nil
}

// checkHost refuses the names of others, by which a page of theirs would reach a listener of this
// machine (DNS rebinding). Browsers always send a Host.
func (e *entry) checkHost(r *http.Request) *refusal {
	if e.socket || e.metricsAlone || KnownHost(r.Host, e.own, e.s.o.Hosts) {
		return nil
	}
	return &refusal{code: http.StatusMisdirectedRequest, text: "the host of the request is not one of this gateway: http.hosts names those that are", close: true}
}

// KnownHost reports whether the Host of a request, to a listener whose address has the host own, is none that a page
// of others could have given it: an IP address, a name of this machine, own, or one of hosts.
func KnownHost(requested, own string, hosts []string) bool {
	host := hostOf(requested)
	_, notIP := netip.ParseAddr(host)
	return requested == "" || notIP == nil || host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		own != "" && host == hostOf(own) || slices.ContainsFunc(hosts, func(h string) bool { return host == hostOf(h) })
}

var crossOrigin = http.NewCrossOriginProtection()

// checkSite refuses what a page of another site has a browser send. A link to the page is fine.
func (e *entry) checkSite(r *http.Request) *refusal {
	refused := &refusal{code: http.StatusForbidden, text: "a request of another site", close: true}
	if crossOrigin.Check(r) != nil {
		return refused
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return nil
	case "":
		origin := r.Header.Get("Origin")
		if u, err := url.Parse(origin); origin == "" || err == nil && strings.EqualFold(u.Host, r.Host) {
			return nil
		}
		return refused
	}
	if r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
		return nil
	}
	return refused
}

// forwarded are headers by which a proxy says that a request comes from elsewhere.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

// isLocal reports whether the request comes from this machine, as far as that can be known: a
// proxy on it forwards those of others.
func (e *entry) isLocal(r *http.Request) bool {
	if !e.loopback || len(e.s.o.Hosts) > 0 {
		return false
	}
	for _, name := range forwarded {
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	peer, err := netip.ParseAddr(host)
	return err == nil && peer.Unmap().IsLoopback()
}

// checkAccess refuses who may not ask for what needs the level. Who may because of a token may as
// long as that is in force; token is empty for the others.
func (e *entry) checkAccess(r *http.Request, needs level) (token string, refused *refusal) {
	s := e.s
	if needs == open || e.socket || needs == view && e.isLocal(r) {
		return "", nil
	}
	token = s.o.Token()
	if token == "" {
		text := "only metrics and health are served to other machines: http.token is not set"
		if needs == act {
			text = "no action is taken over TCP: http.token is not set"
		}
		return "", &refusal{code: http.StatusForbidden, text: text}
	}
	shown, ok := credential(r)
	if !ok {
		return "", &refusal{code: http.StatusUnauthorized, text: "http.token is needed, as a Bearer token or as the password of Basic"}
	}
	// Sums have one length, so that the time of the comparison says nothing.
	is, want := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(is[:], want[:]) == 1 {
		return token, nil
	}
	if n, ok := s.wrong.Now(time.Now()); ok {
		s.o.Log.Warn("http: a wrong token is refused", "times", n, "peer", r.RemoteAddr)
	}
	return "", &refusal{code: http.StatusUnauthorized, text: "the token is not http.token", slow: true}
}

// credential returns the token that a request shows.
func credential(r *http.Request) (token string, ok bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// answer sends the refusal. One for a wrong token comes late; meanwhile the connection is the first
// to go if there are too many.
func (f *refusal) answer(w http.ResponseWriter, r *http.Request, s *Server) {
	if f.slow {
		c := connOf(r.Context())
		c.answering(false)
		wait, cancel := context.WithTimeout(r.Context(), s.limits.wrongToken)
		<-wait.Done()
		cancel()
	}
	if f.close {
		w.Header().Set("Connection", "close")
	}
	if f.code == http.StatusUnauthorized {
		challenge := `Bearer realm="gateway"`
		if strings.Contains(r.Header.Get("Accept"), "text/html") { // a person, who is asked
			challenge = `Basic realm="gateway: any user, http.token as the password", charset="UTF-8"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if r.Method == http.MethodPost {
		writeJSON(w, f.code, result{Error: f.text})
		return
	}
	http.Error(w, f.text, f.code)
}
