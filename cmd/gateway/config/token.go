// This file reads the bot's token, and says what was probably put in its place.

package config

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

const whereTokenIs = "on the page Bot of the developer portal"

// noTokens are shapes of what is no token, the first that matches counts.
var noTokens = []struct {
	shape *regexp.Regexp
	is    string
}{
	{regexp.MustCompile(`^$`), "the token is empty"},
	{regexp.MustCompile(`^\*+$`), "this is the mask that stands for a token, not a token"},
	{regexp.MustCompile(`(?i)^Bearer( |$)`), "this is a Bearer token, which OAuth2 gives to an application; the bot's token is " + whereTokenIs},
	// A line of an .env, TOML or JSON file: a name, then = or a colon and a value.
	{regexp.MustCompile(`(?m)^[\s{]*(export\s+)?["']?[A-Za-z_][A-Za-z0-9_]*["']?\s*[=:]\s*\S`), "there is a name before the value, as in an .env file; write the token alone"},
	{regexp.MustCompile(`^["']|["']$`), "the token has quotes around it; write it without them"},
	{regexp.MustCompile(`^(\$\{?[A-Za-z_].*|<.*>|\{\{.*\}\}|%[A-Za-z_]+%)$`), "this stands for a token, and nothing has put the token in its place"},
	{regexp.MustCompile(`[^!-~]`), "the token has white space, a line break or a letter that no token has in it"},
}

// botToken and tokenFile take each other's place: the later source counts.
func botToken(c *Config) value {
	shown := func(s Secret) string {
		if c.tokenFile != "" {
			return ""
		}
		return show(s)
	}
	return valueOf("text", &c.Token, shown, func(in input) Secret {
		if s := want[string](in, `"the bot's token"`); s != "" {
			return in.token(s)
		}
		return ""
	}).then(func(input) {
		c.tokenFile = ""
		delete(c.origins, "token_file")
	})
}

func tokenFile(c *Config) value {
	return path(&c.tokenFile, "/run/secrets/token").then(func(in input) {
		if at := c.origins["token"]; at.Kind == in.at.Kind {
			other := "token"
			if at.Kind == FromEnvironment {
				other = at.Name
			}
			in.errorf("%s is set too; which of the two is meant?", other)
		}
		c.Token = ""
		delete(c.origins, "token")
	})
}

// token returns the token in a text. What is wrong with it is reported without it.
func (in input) token(text string) Secret {
	in.r.secrets.add(text)
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	in.r.secrets.add(text)
	if prefix, rest, _ := strings.Cut(text, " "); strings.EqualFold(prefix, "Bot") {
		text = strings.TrimSpace(rest)
		in.r.secrets.add(text)
	}
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" \t\r\n=:\"'", c) }) {
		if strings.Count(word, ".") == 2 { // the token in what is around it
			in.r.secrets.add(word)
		}
	}
	for _, no := range noTokens {
		if no.shape.MatchString(text) {
			in.errorf("%s", no.is)
			return ""
		}
	}
	return Secret(text)
}

// maxTokenFile bounds a file with a token in bytes.
const maxTokenFile = 4 << 10

func (l *loader) validateToken() {
	key := "token"
	if l.tokenFile != "" {
		key = "token_file"
		if !l.failed[key] {
			l.readToken()
		}
	}
	token := string(l.Token)
	switch {
	case l.failed["token"] || l.failed["token_file"]:
	case token == "":
		l.add(Error, Origin{}, "token", "missing; set DISCORD_TOKEN or DISCORD_TOKEN_FILE, or token in the file")
	case l.API.Host == "discord.com" && l.Gateway.URL == "" && !isToken(token):
		l.say(Error, key, "this cannot be a bot's token, which has three parts with dots between them; it is %s", whereTokenIs)
	case isCommon(token):
		l.say(Warning, key, "what is so short or common is not masked in the log, in which it stands for something else; choose another token")
	}
}

// readToken reads the token in its file.
func (l *loader) readToken() {
	content, err := readFile(l.tokenFile, maxTokenFile)
	text, trouble := decodeText(content)
	switch {
	case err != nil:
		trouble = fileTrouble(err)
	case trouble == "" && len(bytes.TrimSpace(text)) == 0:
		trouble = "the file is empty"
	}
	if trouble != "" {
		l.say(Error, "token_file", "%s: %s", l.tokenFile, trouble)
		return
	}
	l.Token = input{key: "token_file", at: l.origins["token_file"], r: &l.report}.token(string(text))
}

// isToken reports whether Discord may have made the token.
func isToken(token string) bool {
	parts := strings.Split(token, ".")
	return len(parts) == 3 && !slices.Contains(parts, "")
}
