// This file keeps secrets out of whatever is printed.

package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// mask stands for a secret.
const mask = "***"

// Secret is a text that prints as ***, whichever way it is printed. Reveal
// gives the text itself.
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

// Format is for every verb of fmt; without it %d would show the secret.
func (s Secret) Format(f fmt.State, verb rune) { fmt.Fprintf(f, fmt.FormatString(f, verb), s.String()) }

// MarshalText is for encoding/json, log/slog and their like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SecretURL is an address that prints with *** for its password. Reveal gives
// the address itself.
type SecretURL string

// Reveal returns the address with its password.
func (u SecretURL) Reveal() string { return string(u) }

// String returns the address with *** for the password.
func (u SecretURL) String() string {
	password, ok := u.password()
	if !ok {
		return mask
	}
	scheme, rest, _ := strings.Cut(string(u), "://")
	login := strings.LastIndexByte(rest, '@') // without a scheme there is none
	if login < 0 {
		return string(u)
	}
	start := len(scheme) + len("://")
	at := start + login
	user, _, set := strings.Cut(string(u[start:at]), ":")
	switch {
	case strings.Contains(strings.ToLower(user), "%3a"), // user%3Apassword
		!set && user != "" && isRedis(strings.ToLower(scheme)): // a lone password
		return string(u[:start]) + mask + string(u[at:])
	case password == "":
		return string(u)
	}
	return string(u[:start]) + user + ":" + mask + string(u[at:])
}

// Format is for every verb of fmt; without it %d would show the password.
func (u SecretURL) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), u.String())
}

// MarshalText is for encoding/json, log/slog and their like.
func (u SecretURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// password returns the password as it is written in the address; ok is false
// when it cannot be told which part of the address that is.
func (u SecretURL) password() (password string, ok bool) {
	s := string(u)
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return "", !strings.ContainsRune(s, '@') && !strings.ContainsRune(s, '?')
	}
	parsed, err := url.Parse(s)
	if err != nil || strings.ContainsRune(scheme, '@') || parsed.RawQuery != "" || parsed.Fragment != "" {
		return "", false // redis://host?password=… and the like
	}
	if parsed.User == nil {
		return "", !strings.ContainsRune(rest, '@')
	}
	authority, path, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(authority, '@')
	if at < 0 || strings.ContainsRune(path, '@') {
		return "", false
	}
	_, password, _ = strings.Cut(authority[:at], ":")
	return password, true
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

// Redact returns the text with *** for the secret and for whatever looks like a
// token of Discord.
func (s Secret) Redact(text string) string {
	var r redactor
	r.add(string(s))
	return r.redact(text)
}

// redactor removes the secrets that were seen while settings were read from
// the texts of problems. No text is meant to hold one: this is the second lock.
type redactor []string

// minRedact is the length below which a secret is not searched for: it would
// hit words.
const minRedact = 6

func (r *redactor) add(secret string) {
	if len(secret) >= minRedact && !isCommon(secret) {
		*r = append(*r, secret)
	}
}

// addLogin adds the password of an address, which may stand in a setting that takes none, and be quoted
// with it.
func (r *redactor) addLogin(text string) {
	login := text[:max(0, strings.LastIndexByte(text, '@'))]
	if _, rest, found := strings.Cut(login, "://"); found {
		login = rest
	}
	_, password, _ := strings.Cut(login, ":")
	r.add(password)
}

// addAddress adds an address with a password.
func (r *redactor) addAddress(address string) {
	if strings.ContainsAny(address, "@?") {
		r.add(address)
	}
	if u, err := url.Parse(address); err == nil && u.User != nil {
		password, _ := u.User.Password()
		r.add(password)
	}
	password, _ := SecretURL(address).password()
	r.add(password)
}

func (r redactor) redact(text string) string {
	for _, secret := range r {
		text = strings.ReplaceAll(text, secret, mask)
	}
	return Redact(text)
}
