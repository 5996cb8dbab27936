// This file reads the bot's token, and says what was probably put in its place.

package config

import (
	"bytes"
	"regexp"
	"strings"
)

// assignment matches a line of an .env, TOML or JSON file: a name, then = or a colon and a value.
var assignment = regexp.MustCompile(`(?m)^[\s{]*(export\s+)?["']?[A-Za-z_][A-Za-z0-9_]*["']?\s*[=:]\s*\S`)

// placeholder matches what stands for a token until it is replaced.
var placeholder = regexp.MustCompile(`^(\$\{?[A-Za-z_].*|<.*>|\{\{.*\}\}|%[A-Za-z_]+%)$`)

// token returns the token in a text. What is wrong with it is reported without it.
func (in input) token(text string) Secret {
	in.r.secrets.add(text)
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	in.r.secrets.add(text)
	prefix, rest, _ := strings.Cut(text, " ")
	if strings.EqualFold(prefix, "Bot") {
		text = strings.TrimSpace(rest)
		in.r.secrets.add(text)
	}
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" \t\r\n=:\"'", c) }) {
		if strings.Count(word, ".") == 2 { // the token in what is around it
			in.r.secrets.add(word)
		}
	}
	switch {
	case text == "":
		in.errorf("the token is empty")
	case strings.Trim(text, "*") == "":
		in.errorf("this is the mask that stands for a token, not a token")
	case strings.EqualFold(prefix, "Bearer"):
		in.errorf("this is a Bearer token, which OAuth2 gives to an application; the bot's token is %s", whereTokenIs)
	case assignment.MatchString(text):
		in.errorf("there is a name before the value, as in an .env file; write the token alone")
	case strings.ContainsAny(text[:1], `"'`) || strings.ContainsAny(text[len(text)-1:], `"'`):
		in.errorf("the token has quotes around it; write it without them")
	case placeholder.MatchString(text):
		in.errorf("this stands for a token, and nothing has put the token in its place")
	case strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		in.errorf("the token has white space, a line break or a letter that no token has in it")
	default:
		return Secret(text)
	}
	return ""
}

const whereTokenIs = "on the page Bot of the developer portal"

// maxTokenFile bounds a file with a token in bytes.
const maxTokenFile = 4 << 10

func (c *Config) finishToken(r *report) {
	if at := c.origins["token_file"]; c.tokenFile != "" && !r.failed["token_file"] {
		content, err := readFile(c.tokenFile, maxTokenFile)
		text, trouble := decodeText(content)
		switch {
		case err != nil:
			r.add(Error, at, "token_file", "%s: %s", c.tokenFile, fileTrouble(err))
		case trouble != "":
			r.add(Error, at, "token_file", "%s: %s", c.tokenFile, trouble)
		case len(bytes.TrimSpace(text)) == 0:
			r.add(Error, at, "token_file", "%s: the file is empty", c.tokenFile)
		default:
			n := &node{at: at, kind: kindText}
			c.Token = input{node: n, key: "token_file", r: r}.token(string(text))
		}
	}
	at, key := c.origins["token"], "token"
	if c.tokenFile != "" {
		at, key = c.origins["token_file"], "token_file"
	}
	token := string(c.Token)
	switch {
	case r.failed["token"] || r.failed["token_file"]:
	case token == "":
		r.add(Error, Origin{}, "token", "missing; set DISCORD_TOKEN or DISCORD_TOKEN_FILE, or token in the file")
	case c.API.Host == "discord.com" && c.Gateway.URL == "" && !isToken(token):
		r.add(Error, at, key, "this cannot be a bot's token, which has three parts with dots between them; it is %s", whereTokenIs)
	case isCommon(token):
		r.add(Warning, at, key, "so short or common a word is not masked in the log, in which it stands for something else; choose another token")
	}
}

// isToken reports whether Discord may have made the token.
func isToken(token string) bool {
	parts := strings.Split(token, ".")
	return len(parts) == 3 && parts[0] != "" && parts[1] != "" && parts[2] != ""
}
