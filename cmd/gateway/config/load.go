// This file reads the settings from file, environment and flags, one over the
// other.

package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// DefaultFile is the file that is read when no other is named. It may be absent.
const DefaultFile = "gateway.toml"

// Sources are where settings come from.
type Sources struct {
	// File is the file's name. Empty is DefaultFile, and then none is fine
	// too.
	File string
	// Environ is the environment in the form of os.Environ. A variable that
	// is empty counts as not set.
	Environ []string
	// Flags are the flags that were given, by name without the dash.
	Flags map[string]string
}

// Load reads and checks the settings. A later source replaces what an earlier
// one says: file, environment, flags. Every mistake in any of them is among the
// problems, not only the first; if one is an Error the Config is not to be used.
func Load(s Sources) (*Config, Problems) {
	c := defaults()
	r := &report{failed: map[string]bool{}}
	c.loadFile(s.File, r)
	c.loadEnvironment(s.Environ, r)
	for _, row := range settings {
		if value, ok := s.Flags[row.Flag]; ok && row.Flag != "" {
			at := Origin{Kind: FromFlag, Name: row.Flag}
			c.read(row, &node{at: at, kind: kindText, loose: true, text: value}, at, r)
		}
	}
	c.finish(r)
	return c, r.finish()
}

// read puts a value into the setting. at is the setting's own place, that of
// the value may be behind it.
func (c *Config) read(row Setting, n *node, at Origin, r *report) {
	if n.kind == kindText && strings.TrimSpace(n.text) == "" {
		return // not set
	}
	if n.kind == kindText && !utf8.ValidString(n.text) {
		r.add(Error, n.at, row.Key, "is not UTF-8")
		return
	}
	if row.Takes == "path" && n.kind == kindText && (strings.HasPrefix(n.text, "~/") || strings.HasPrefix(n.text, "$")) {
		r.add(Error, n.at, row.Key, "%.60q begins with what a shell replaces, and there is none here; write the whole path", n.text)
		return
	}
	if n.kind == kindText {
		r.secrets.addLogin(n.text)
	}
	before := len(r.problems)
	row.read(c, input{node: n, key: row.Key, r: r})
	if r.problems[before:].Failed() {
		r.failed[row.Key] = true
		return
	}
	c.origins[row.Key] = at
}

// maxFile bounds the file in bytes.
const maxFile = 1 << 20

func (c *Config) loadFile(name string, r *report) {
	required := name != ""
	if !required {
		name = DefaultFile
	}
	at := Origin{Kind: FromFile, Name: name}
	document, err := readFile(name, maxFile)
	if err != nil {
		if required || !errors.Is(err, fs.ErrNotExist) {
			r.add(Error, at, "", "%s", fileTrouble(err))
			r.failed["token"] = true // it may well be in there
		}
		return
	}
	c.loadDocument(name, document, r)
}

// loadDocument reads the settings in the content of the file of that name.
func (c *Config) loadDocument(name string, document []byte, r *report) {
	at := Origin{Kind: FromFile, Name: name}
	document, trouble := decodeText(document)
	if trouble != "" {
		r.add(Error, at, "", "%s", trouble)
		r.failed["token"] = true // it may well be in there
		return
	}
	root, err := parseTOML(name, document)
	if err != nil {
		var se *syntaxError
		if errors.As(err, &se) {
			at.Line, at.Column = se.line, se.column
		}
		r.add(Error, at, "", "not TOML: %s", err)
		r.failed["token"] = true
		return
	}
	token, file := root.get("token"), root.get("token_file")
	if isSet(token) && isSet(file) {
		r.add(Error, file.at, "token_file", "token is set too; which of the two is meant?")
	}
	c.loadTable(root, "", r)
}

func isSet(n *node) bool { return n != nil && (n.kind != kindText || n.text != "") }

// decodeText returns the document without a byte order mark, and what is wrong
// with its encoding.
func decodeText(document []byte) ([]byte, string) {
	if bytes.HasPrefix(document, []byte{0xff, 0xfe}) || bytes.HasPrefix(document, []byte{0xfe, 0xff}) {
		return nil, "is UTF-16; save it as UTF-8"
	}
	return bytes.TrimPrefix(document, []byte("\xef\xbb\xbf")), ""
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = errTooLarge
	}
	return content, err
}

var errTooLarge = errors.New("is far too large")

// fileTrouble says why a file could not be read, in words that are the same on
// every system as far as they can be.
func fileTrouble(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission to read it is denied"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return "cannot be read: " + err.Error()
}

// oldKeys are keys of versions of the old gateway, with what they became.
var oldKeys = map[string]string{"redis.url": "redis.urls"}

// loadTable reads the settings in a table whose keys begin with the prefix.
func (c *Config) loadTable(table *node, prefix string, r *report) {
	for _, e := range table.table {
		key := prefix + e.key
		value := e.value
		if now := oldKeys[key]; now != "" {
			r.add(Warning, e.at, key, "is the old name of %s", now)
			key = now
			if value.kind == kindText {
				value = &node{at: value.at, kind: kindList, list: []*node{value}}
			}
		}
		i := slices.IndexFunc(settings, func(s Setting) bool { return s.Key == key })
		switch {
		case i >= 0 && !strings.Contains(e.key, "."):
			c.read(settings[i], value, e.at, r)
		case !isSection(key):
			r.add(Error, e.at, key, "unknown %s%s", keyOrTable(value), suggestKey(key, value))
		case value.kind == kindTable:
			c.loadTable(value, key+".", r)
		case value.kind == kindList:
			r.add(Error, e.at, key, "there is only one: write [%s]", key)
		default:
			r.add(Error, e.at, key, "is a table: write [%s] and its settings below it", key)
		}
	}
}

func keyOrTable(value *node) string {
	if value.kind == kindTable || value.kind == kindList && len(value.list) > 0 && value.list[0].kind == kindTable {
		return "table"
	}
	return "key"
}

// isSection reports whether the key is that of a table of settings.
func isSection(key string) bool { return slices.Contains(sections(), key) }

func sections() []string {
	var names []string
	for _, s := range settings {
		if section, _, found := strings.Cut(s.Key, "."); found && !slices.Contains(names, section) {
			names = append(names, section)
		}
	}
	return names
}

// suggestKey returns what was probably meant by an unknown key.
func suggestKey(key string, value *node) string {
	if keyOrTable(value) == "table" {
		return didYouMean(key, append(sections(), "presence"))
	}
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.Key
	}
	if hint := didYouMean(key, keys); hint != "" {
		return hint
	}
	name := key[strings.LastIndexByte(key, '.')+1:]
	for _, k := range keys { // the right name in the wrong table
		if k[strings.LastIndexByte(k, '.')+1:] == name {
			return "; did you mean " + k + "?"
		}
	}
	return ""
}

func (c *Config) loadEnvironment(environ []string, r *report) {
	values := map[string]string{}
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			values[name] = value
		}
	}
	if values["DISCORD_TOKEN"] != "" && values["DISCORD_TOKEN_FILE"] != "" {
		r.add(Error, Origin{Kind: FromEnvironment, Name: "DISCORD_TOKEN_FILE"}, "token_file",
			"DISCORD_TOKEN is set too; which of the two is meant?")
	}
	known := make([]string, len(settings))
	for i, row := range settings {
		known[i] = row.Env
		if value := values[row.Env]; value != "" {
			at := Origin{Kind: FromEnvironment, Name: row.Env}
			// Files with variables have line ends of Windows, and byte order marks.
			value = strings.TrimSpace(strings.TrimPrefix(value, "\ufeff"))
			if q := quotedIn(value); q != "" && row.Key != "token" {
				r.secrets.add(value)
				r.secrets.add(strings.Trim(value, q))
				r.add(Error, at, row.Key, "the value has quotes around it, which not every reader of .env files removes; write it without them")
				continue
			}
			c.read(row, &node{at: at, kind: kindText, loose: true, text: value}, at, r)
		}
	}
	var names []string
	for name := range values {
		if !slices.Contains(known, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		at := Origin{Kind: FromEnvironment, Name: name}
		if meant := suggestVariable(name, known); meant != "" {
			r.add(Warning, at, "", "no setting of the gateway; did you mean %s?", meant)
		} else if hasOurPrefix(name) {
			r.add(Note, at, "", "no setting of the gateway")
		}
	}
}

// quotedIn returns the quotes that are around a value, or "".
func quotedIn(value string) string {
	for _, q := range []string{`"`, "'"} {
		if len(value) >= 2 && strings.HasPrefix(value, q) && strings.HasSuffix(value, q) {
			return q
		}
	}
	return ""
}

// linkVariable matches the variables with which Kubernetes and Docker tell of
// other services: one named broker makes BROKER_PORT.
var linkVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP)(_(ADDR|PORT|PROTO))?)?)$`)

// hasOurPrefix reports whether the variable begins like one of ours and should
// be ours.
func hasOurPrefix(name string) bool {
	for _, prefix := range []string{"DISCORD_", "BROKER_", "SHARD_STORE_", "PROMETHEUS_", "STDIO_"} {
		if strings.HasPrefix(name, prefix) {
			return !linkVariable.MatchString(name)
		}
	}
	return false
}

// suggestVariable returns the variable that was probably meant. One without a
// prefix of ours has to be a letter away.
func suggestVariable(name string, known []string) string {
	if hasOurPrefix(name) {
		return Nearest(name, known)
	}
	for _, k := range known {
		if len(name) > 6 && distance(name, k, 2) < 2 {
			return k
		}
	}
	return ""
}
