// This file reads the settings from file, environment and flags, one over the
// other.

package config

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hbollon/go-edlib"
	"github.com/pelletier/go-toml/v2"
)

// DefaultFile is the file that is read when no other is named. It may be absent.
const DefaultFile = "gateway.toml"

// Sources are where settings come from.
type Sources struct {
	File    string            // empty: DefaultFile, and then none is fine too
	Environ []string          // as of os.Environ; a variable that is empty counts as not set
	Flags   map[string]string // those that were given, by name without the dash
}

// Load reads and checks the settings. A later source replaces what an earlier
// one says: file, environment, flags. Every mistake in any of them is among the
// problems, not only the first; if one is an Error the Config is not to be used.
func Load(s Sources) (*Config, Problems) {
	l := newLoader()
	l.file(s.File)
	l.environment(s.Environ)
	for _, row := range l.table {
		if value, ok := s.Flags[row.Flag]; ok && row.Flag != "" {
			at := Origin{Kind: FromFlag, Name: row.Flag}
			l.set(row, at, input{value: value, loose: true, at: at})
		}
	}
	l.validate()
	return l.Config, l.sorted()
}

// loader makes a Config.
type loader struct {
	*Config
	report
	table []Setting // of the Config
}

func newLoader() *loader {
	c := defaults()
	return &loader{c, report{failed: map[string]bool{}}, c.settings()}
}

// set puts a value into the setting. at is the setting's own place, that of
// the value may be behind it.
func (l *loader) set(row Setting, at Origin, in input) {
	in.key, in.r = row.Key, &l.report
	if text, ok := in.value.(string); ok {
		if strings.TrimSpace(text) == "" {
			return // not set
		}
		if !utf8.ValidString(text) {
			in.errorf("is not UTF-8")
			return
		}
		l.secrets.addURL(text)
	}
	before := l.errors
	if row.read(in); l.errors == before {
		l.origins[row.Key] = at
	} else {
		l.failed[row.Key] = true
	}
}

// maxFile bounds the file in bytes.
const maxFile = 1 << 20

func (l *loader) file(name string) {
	at := Origin{Kind: FromFile, Name: cmp.Or(name, DefaultFile)}
	document, err := readFile(at.Name, maxFile)
	if err == nil {
		l.document(at, document)
	} else if name != "" || !errors.Is(err, fs.ErrNotExist) {
		l.unreadable(at, fileTrouble(err))
	}
}

// unreadable reports what is wrong with the file as a whole.
func (l *loader) unreadable(at Origin, trouble string) {
	l.add(Error, at, "", "%s", trouble)
	l.failed["token"] = true // it may well be in there
}

// document reads the settings in the content of the file at the place.
func (l *loader) document(at Origin, document []byte) {
	document, trouble := decodeText(document)
	if trouble != "" {
		l.unreadable(at, trouble)
		return
	}
	root, places, err := parseTOML(at.Name, document)
	if err != nil {
		var de *toml.DecodeError
		if errors.As(err, &de) {
			at.Line, at.Column = de.Position()
		}
		text := strings.TrimPrefix(err.Error(), "toml: ")
		if strings.HasPrefix(text, "unexpected character") {
			text = "expected a value; a text needs quotes around it"
		}
		l.unreadable(at, "not TOML: "+text)
		return
	}
	l.readTable("", input{value: root, at: at, places: places})
}

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
		err = errors.New("is far too large")
	}
	return content, err
}

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

// readTable reads the settings in a table whose keys begin with the prefix.
func (l *loader) readTable(prefix string, table input) {
	values := table.value.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		key, at, in := prefix+name, table.keyAt(name), table.child(values[name], name, "")
		kind := kindOf(in.value)
		i := slices.IndexFunc(l.table, func(s Setting) bool {
			return !strings.Contains(name, ".") && name != "" && (s.Key == key || s.oldKey == key)
		})
		switch {
		case i >= 0 && l.table[i].oldKey == key:
			if _, both := values[strings.TrimPrefix(l.table[i].Key, prefix)]; both {
				l.add(Warning, at, key, "has no effect: it is the old name of %[1]s, and %[1]s is set too; remove it", l.table[i].Key)
			} else {
				l.add(Warning, at, key, "is the old name of %s", l.table[i].Key)
				l.set(l.table[i], at, in)
			}
		case i >= 0:
			l.set(l.table[i], at, in)
		case !slices.Contains(l.sections(), key):
			l.unknown(key, at, in.value)
		case kind == kindTable:
			l.readTable(key+".", in)
		case kind == kindList:
			l.add(Error, at, key, "there is only one: write [%s]", key)
		default:
			l.add(Error, at, key, "is a table: write [%s] and its settings below it", key)
		}
	}
}

// unknown reports a key that no setting and no table has.
func (l *loader) unknown(key string, at Origin, value any) {
	what, known := "table", append(l.sections(), "presence")
	if list, ok := value.([]any); ok && len(list) > 0 {
		value = list[0]
	}
	if kindOf(value) != kindTable {
		what, known = "key", nil
		for _, s := range l.table {
			known = append(known, s.Key)
		}
	}
	l.add(Error, at, key, "unknown %s%s", what, didYouMean(key, known))
}

// sections returns the names of the tables of settings.
func (l *loader) sections() (names []string) {
	for _, s := range l.table {
		if section, _, found := strings.Cut(s.Key, "."); found {
			names = append(names, section)
		}
	}
	return slices.Compact(names)
}

func (l *loader) environment(environ []string) {
	values := map[string]string{}
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			values[name] = value
		}
	}
	known := make([]string, len(l.table))
	for i, row := range l.table {
		known[i] = row.Env
		if value := values[row.oldEnv]; value != "" {
			at := Origin{Kind: FromEnvironment, Name: row.oldEnv}
			if values[row.Env] == "" {
				l.add(Warning, at, "", "is the old name of %s", row.Env)
				l.variable(row, row.oldEnv, value)
			} else {
				l.add(Warning, at, "", "has no effect: it is the old name of %[1]s, and %[1]s is set too; remove it", row.Env)
			}
		}
		l.variable(row, row.Env, values[row.Env])
		delete(values, row.oldEnv)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if slices.Contains(known, name) {
			continue
		}
		at := Origin{Kind: FromEnvironment, Name: name}
		if meant := suggestVariable(name, known); meant != "" {
			l.add(Warning, at, "", "no setting of the gateway; did you mean %s?", meant)
		} else if hasOurPrefix(name) {
			l.add(Note, at, "", "no setting of the gateway")
		}
	}
	l.environmentProxy(values)
}

// environmentProxy looks at the proxies that ProxyFunc finds in the environment. net/http takes one
// that it cannot parse for none, and what was to go through the proxy would go past it.
func (l *loader) environmentProxy(values map[string]string) {
	if l.Proxy != "" {
		return
	}
	for _, names := range [][]string{{"HTTPS_PROXY", "https_proxy"}, {"HTTP_PROXY", "http_proxy"}} {
		if values[names[0]] == "" {
			names = names[1:]
		}
		address := values[names[0]]
		if address != "" && !strings.Contains(address, "://") {
			address = "http://" + address
		}
		if address == "" {
			continue
		}
		if trouble := proxyTrouble(strings.TrimRight(address, "/")); trouble != "" {
			l.add(Error, Origin{Kind: FromEnvironment, Name: names[0]}, "", "%s; correct it, or set proxy (DISCORD_PROXY) to that of the gateway or none", trouble)
		}
	}
}

// variable puts a variable's value into the setting.
func (l *loader) variable(row Setting, name, value string) {
	at := Origin{Kind: FromEnvironment, Name: name}
	// Files with variables have line ends of Windows, and byte order marks.
	value = strings.TrimSpace(strings.TrimPrefix(value, "\ufeff"))
	if quoted.MatchString(value) && row.Key != "token" {
		l.secrets.add(value)
		l.secrets.add(strings.Trim(value, value[:1]))
		l.add(Error, at, row.Key, "the value has quotes around it, which not every reader of .env files removes; write it without them")
		return
	}
	l.set(row, at, input{value: value, loose: true, at: at})
}

// quoted matches a value with quotes around it.
var quoted = regexp.MustCompile(`(?s)^(".*"|'.*')$`)

// linkVariable matches the variables in which Kubernetes and Docker have the
// addresses of other services: one named broker makes BROKER_PORT.
var linkVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP)(_(ADDR|PORT|PROTO))?)?)$`)

// ourPrefix matches the variables that should be ours.
var ourPrefix = regexp.MustCompile(`^(DISCORD|BROKER|SHARD_STORE|PROMETHEUS|STDIO)_`)

func hasOurPrefix(name string) bool {
	return ourPrefix.MatchString(name) && !linkVariable.MatchString(name)
}

// suggestVariable returns the variable that was probably meant. One without a
// prefix of ours has to be a letter away.
func suggestVariable(name string, known []string) string {
	if hasOurPrefix(name) {
		return Nearest(name, known)
	}
	for _, k := range known {
		if len(name) > 6 && edlib.OSADamerauLevenshteinDistance(name, k) < 2 {
			return k
		}
	}
	return ""
}
