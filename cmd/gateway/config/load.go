// This file reads the settings from file, environment and flags, one over the
// other.

package config

import (
	"bytes"
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
	return l.Config, l.finish()
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
	required := name != ""
	if !required {
		name = DefaultFile
	}
	document, err := readFile(name, maxFile)
	if err == nil {
		l.document(name, document)
	} else if required || !errors.Is(err, fs.ErrNotExist) {
		l.unreadable(Origin{Kind: FromFile, Name: name}, "%s", fileTrouble(err))
	}
}

// unreadable reports what is wrong with the file as a whole.
func (l *loader) unreadable(at Origin, format string, args ...any) {
	l.add(Error, at, "", format, args...)
	l.failed["token"] = true // it may well be in there
}

// document reads the settings in the content of the file of that name.
func (l *loader) document(name string, document []byte) {
	at := Origin{Kind: FromFile, Name: name}
	document, trouble := decodeText(document)
	if trouble != "" {
		l.unreadable(at, "%s", trouble)
		return
	}
	root, places, err := parseTOML(name, document)
	if err != nil {
		var de *toml.DecodeError
		if errors.As(err, &de) {
			at.Line, at.Column = de.Position()
		}
		l.unreadable(at, "not TOML: %s", tomlTrouble(err))
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
		key, at := prefix+name, table.keyAt(name)
		in := table.child(values[name], name, "")
		_, isTable := in.value.(map[string]any)
		i := slices.IndexFunc(l.table, func(s Setting) bool { return s.Key == key || s.oldKey == key && key != "" })
		switch {
		case i >= 0 && l.table[i].oldKey == key:
			l.add(Warning, at, key, "is the old name of %s", l.table[i].Key)
			if _, both := values[strings.TrimPrefix(l.table[i].Key, prefix)]; !both {
				l.set(l.table[i], at, in)
			}
		case i >= 0 && !strings.Contains(name, "."):
			l.set(l.table[i], at, in)
		case !slices.Contains(l.sections(), key):
			l.add(Error, at, key, "unknown %s%s", keyOrTable(in.value), l.suggestKey(key, in.value))
		case isTable:
			l.readTable(key+".", in)
		case kindOf(in.value) == "a list":
			l.add(Error, at, key, "there is only one: write [%s]", key)
		default:
			l.add(Error, at, key, "is a table: write [%s] and its settings below it", key)
		}
	}
}

// keyOrTable says which of the two a value makes of a key.
func keyOrTable(value any) string {
	if list, ok := value.([]any); ok && len(list) > 0 {
		value = list[0]
	}
	if kindOf(value) == "a table" {
		return "table"
	}
	return "key"
}

// sections returns the names of the tables of settings.
func (l *loader) sections() (names []string) {
	for _, s := range l.table {
		if section, _, found := strings.Cut(s.Key, "."); found && !slices.Contains(names, section) {
			names = append(names, section)
		}
	}
	return names
}

// suggestKey returns what was probably meant by an unknown key.
func (l *loader) suggestKey(key string, value any) string {
	if keyOrTable(value) == "table" {
		return didYouMean(key, append(l.sections(), "presence"))
	}
	keys := make([]string, len(l.table))
	for i, s := range l.table {
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
			l.add(Warning, Origin{Kind: FromEnvironment, Name: row.oldEnv}, "", "is the old name of %s", row.Env)
			l.variable(row, row.oldEnv, value)
		}
		l.variable(row, row.Env, values[row.Env]) // which counts if both are set
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
}

// variable puts a variable's value into the setting.
func (l *loader) variable(row Setting, name, value string) {
	at := Origin{Kind: FromEnvironment, Name: name}
	// Files with variables have line ends of Windows, and byte order marks.
	value = strings.TrimSpace(strings.TrimPrefix(value, "\ufeff"))
	if q := quotedIn(value); q != "" && row.Key != "token" {
		l.secrets.add(value)
		l.secrets.add(strings.Trim(value, q))
		l.add(Error, at, row.Key, "the value has quotes around it, which not every reader of .env files removes; write it without them")
		return
	}
	l.set(row, at, input{value: value, loose: true, at: at})
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
