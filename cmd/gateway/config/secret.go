// This file keeps secrets out of whatever is printed: values that do not show
// themselves, and their removal from texts of others.

package config

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mask stands for a secret.
const mask = "***"

// Secret is a text that prints as ***, whichever way it is printed. Format is for every
// verb of fmt, MarshalText for encoding/json, log/slog and their like.
type Secret string

// Reveal returns the secret text.
func (s Secret) Reveal() string { return string(s) }

// String returns ***, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

func (s Secret) Format(f fmt.State, verb rune) { fmt.Fprintf(f, fmt.FormatString(f, verb), s.String()) }
func (s Secret) MarshalText() ([]byte, error)  { return []byte(s.String()), nil }

// Redact returns the text with *** for the secret and for whatever looks like a
// token of Discord.
func (s Secret) Redact(text string) string {
	var list Secrets
	list.add(string(s))
	return list.Redact(text)
}

// SecretURL is an address that prints with *** for its password, as Secret does.
type SecretURL string

// Reveal returns the address with its password.
func (u SecretURL) Reveal() string { return string(u) }

// String returns the address with *** for the password.
func (u SecretURL) String() string {
	start, user, password, end, ok := u.parts()
	switch {
	case !ok:
		return mask
	case strings.Contains(strings.ToLower(user), "%3a"), // user%3Apassword
		password == "" && user != "" && isRedis(strings.ToLower(start)): // a lone password
		return start + mask + end
	case password == "":
		return string(u)
	}
	return start + user + ":" + mask + end
}

func (u SecretURL) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), u.String())
}
func (u SecretURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// parts returns the address cut around user and password as they are written; ok is false
// when it is not certain which part of the address those are.
func (u SecretURL) parts() (start, user, password, end string, ok bool) {
	scheme, rest, found := strings.Cut(string(u), "://")
	if !found {
		return "", "", "", string(u), !strings.ContainsAny(string(u), "@?")
	}
	authority, path, _ := strings.Cut(rest, "/")
	parsed, err := url.Parse(string(u))
	// redis://host?password=… and the like
	if err != nil || strings.ContainsRune(scheme+path, '@') || parsed.RawQuery != "" || parsed.Fragment != "" {
		return "", "", "", "", false
	}
	at := strings.LastIndexByte(authority, '@')
	user, password, _ = strings.Cut(authority[:max(at, 0)], ":")
	start = scheme + "://"
	return start, user, password, string(u[len(start)+max(at, 0):]), true
}

// isRedis reports whether a lone user in an address with the scheme may be a password, as it is
// in one of the forms for Redis.
func isRedis(scheme string) bool {
	scheme = strings.TrimSuffix(scheme, "://")
	return scheme == "redis" || scheme == "rediss" || scheme == "unix"
}

// tokenShape is what Discord's tokens look like.
var tokenShape = regexp.MustCompile(`[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{20,}`)

// Redact returns the text with *** for whatever looks like a token of Discord:
// for texts that may hold anything, such as an argument in the wrong place.
func Redact(text string) string { return tokenShape.ReplaceAllString(text, mask) }

// argumentShape is what a part of a token looks like, or one that is not quite Discord's.
var argumentShape = regexp.MustCompile(`[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{10,}`)

// RedactArgument is Redact for a word of the command line that is not understood. It is
// stricter: nothing is lost if the word is not shown.
func RedactArgument(text string) string { return argumentShape.ReplaceAllString(text, mask) }

// minSecret is the length from which a secret is searched for. Shorter ones hit words.
const minSecret = 4

// commonWords are words of the log and passwords of examples. One as a secret keeps nobody out,
// and masking it would make sentences unreadable, and reveal it by the gaps.
var commonWords = strings.Fields(`
	account address admin administrator amqp answer another bench broker buffer change changeme channel
	cluster code command commands connect connected connection connections consumer database debug
	default delivered demo directory disabled discord empty error errors event events example exchange
	exit failed failure file files first from gateway group guest guild guilds hello host identify
	info information intents invalid json keydb level limit line lines local localhost login memory
	message messages missing mode name network none null number output pass passwd password path
	ping pong port prod production proxy public publish queue queues rabbit rabbitmq ready redis refused
	remedy reset resume retry root routing running secret secrets seconds sentinel server service session
	sessions shard shards sluice spool standard start started state stdio stop stopped store stream streams
	string system temp test testing text time timeout token true type unavailable unknown url used user
	username valkey value vhost wait waiting warn warning with word write wrong`)

// isCommon reports whether a secret is such a word, or as short as one.
func isCommon(secret string) bool {
	return len(secret) < minSecret || slices.Contains(commonWords, strings.ToLower(secret))
}

// Secrets are the texts that must not be printed: a broker or proxy that refuses a login may
// quote it.
type Secrets []string

// Secrets returns the bot's token, that of http.token and the passwords of brokers and proxies, in each way in which
// they may be written. The longest come first, so that of one that holds another nothing is left.
func (c *Config) Secrets() Secrets {
	var s Secrets
	s.add(c.Token.Reveal())
	s.add(c.HTTP.Token.Reveal())
	s.addURL(c.Proxy.Reveal())
	for _, b := range brokers {
		if b.urls == nil {
			continue
		}
		for _, u := range b.urls(c) {
			s.addURL(u.Reveal())
		}
	}
	if c.Proxy == "" { // see ProxyFunc
		for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
			s.addURL(os.Getenv(name))
		}
	}
	return s.sorted()
}

// sorted returns each of them once, the longest first.
func (s Secrets) sorted() Secrets {
	slices.SortFunc(s, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(s)
}

// add adds a secret, as it is, as it may be written in an address, and as %q has it.
func (s *Secrets) add(secret string) {
	if !isCommon(secret) {
		quoted := strconv.Quote(secret)
		*s = append(*s, secret, url.UserPassword("", secret).String()[1:], url.QueryEscape(secret), quoted[1:len(quoted)-1])
	}
}

// addURL adds the passwords of an address, or of what may be one.
func (s *Secrets) addURL(address string) {
	if !strings.Contains(address, "://") {
		address = "redis://" + address // and a proxy's user is no password, but is masked with it
	}
	_, rest, _ := strings.Cut(address, "://")
	_, written, _ := strings.Cut(rest[:max(0, strings.LastIndexByte(rest, '@'))], ":")
	s.add(written)
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	for _, password := range u.Query()["password"] {
		s.add(password)
	}
	name := u.User.Username()
	password, set := u.User.Password()
	s.add(password)
	if set && !isCommon(password) { // as in Proxy-Authorization
		s.add(base64.StdEncoding.EncodeToString([]byte(name + ":" + password)))
	}
	if _, after, found := strings.Cut(name, ":"); found { // user%3Apassword
		s.add(name)
		s.add(after)
	} else if !set && isRedis(u.Scheme) {
		s.add(name)
	}
}

// Longest returns the length of the longest secret.
func (s Secrets) Longest() (n int) {
	for _, secret := range s {
		n = max(n, len(secret))
	}
	return n
}

// minBeginning is how much of a long secret shows that more of it follows.
const minBeginning = 24

// Redact returns the text with *** for the secrets and for whatever looks like a token of Discord.
func (s Secrets) Redact(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, mask)
	}
	text = Redact(text)
	for _, secret := range s { // of one that was cut, its beginning: Redis quotes 128 bytes of a command
		for i := 0; len(secret) > minBeginning && i >= 0; {
			if i = strings.Index(text, secret[:minBeginning]); i >= 0 {
				n := minBeginning
				for n < len(secret) && i+n < len(text) && text[i+n] == secret[n] {
					n++
				}
				text = text[:i] + mask + text[i+n:]
			}
		}
	}
	return text
}

// Error returns the error with its text redacted. It is the same error otherwise.
func (s Secrets) Error(err error) error {
	if err == nil {
		return nil
	}
	return &redactedError{s.Redact(err.Error()), err}
}

type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }
