// This file finds the secrets of the settings in what others have written.

package config

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// minPassword is the length from which a password is searched for. Shorter ones hit words.
const minPassword = 4

// commonWords are words of the log and passwords of examples. One as a secret keeps nobody out,
// and masking it would make sentences unreadable, and tell it by the gaps.
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

// isCommon reports whether a secret is such a word, or too short to be told from words.
func isCommon(secret string) bool {
	return len(secret) < minPassword || slices.Contains(commonWords, strings.ToLower(secret))
}

// Secrets are the texts that must not be printed: a broker or proxy that refuses a login may
// quote it. The longest come first, so that of one that holds another nothing is left.
type Secrets []string

// Secrets returns the bot's token and the passwords of brokers and proxies, in each way in which
// they may be written.
func (c *Config) Secrets() Secrets {
	var s Secrets
	if token := c.Token.Reveal(); !isCommon(token) {
		s = append(s, token)
	}
	for _, u := range slices.Concat(c.Redis.URLs, c.AMQP.URLs, []SecretURL{c.Proxy}) {
		s.addURL(u)
	}
	if c.Proxy == "" { // see ProxyFunc
		for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
			s.addURL(SecretURL(os.Getenv(name)))
		}
	}
	slices.SortFunc(s, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(s)
}

// addURL adds the passwords of an address.
func (s *Secrets) addURL(u SecretURL) {
	address := u.Reveal()
	if !strings.Contains(address, "://") {
		address = "redis://" + address // and a proxy's user is no password, but is masked with it
	}
	if password, ok := SecretURL(address).password(); ok {
		s.add(password)
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return
	}
	for _, password := range parsed.Query()["password"] {
		s.add(password)
	}
	if parsed.User == nil {
		return
	}
	name := parsed.User.Username()
	password, set := parsed.User.Password()
	s.add(password)
	if set && !isCommon(password) { // as in Proxy-Authorization
		s.add(base64.StdEncoding.EncodeToString([]byte(name + ":" + password)))
	}
	if _, after, found := strings.Cut(name, ":"); found { // user%3Apassword
		s.add(name)
		s.add(after)
	} else if !set && isRedis(parsed.Scheme) {
		s.add(name)
	}
}

// isRedis reports whether a lone user in an address with the scheme may be a password, as it is
// in one of the forms for Redis.
func isRedis(scheme string) bool {
	return scheme == "redis" || scheme == "rediss" || scheme == "unix"
}

// add adds a password, as it is, as it may be written in an address, and as %q has it.
func (s *Secrets) add(password string) {
	if isCommon(password) {
		return
	}
	quoted := strconv.Quote(password)
	*s = append(*s, password, url.UserPassword("", password).String()[1:], url.QueryEscape(password), quoted[1:len(quoted)-1])
}

// Longest returns the length of the longest secret.
func (s Secrets) Longest() int {
	if len(s) == 0 {
		return 0
	}
	return len(s[0])
}

// Redact returns the text with *** for the secrets and for whatever looks like a token of Discord.
func (s Secrets) Redact(text string) string {
	text = redactor(s).redact(text)
	for _, secret := range s {
		text = redactBeginning(text, secret)
	}
	return text
}

// minBeginning is how much of a long secret tells that more of it follows.
const minBeginning = 24

// redactBeginning masks a long secret that was cut: Redis quotes 128 bytes of a command.
func redactBeginning(text, secret string) string {
	if len(secret) <= minBeginning {
		return text
	}
	for {
		i := strings.Index(text, secret[:minBeginning])
		if i < 0 {
			return text
		}
		n := minBeginning
		for n < len(secret) && i+n < len(text) && text[i+n] == secret[n] {
			n++
		}
		text = text[:i] + mask + text[i+n:]
	}
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
