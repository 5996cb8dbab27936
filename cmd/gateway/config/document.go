// This file reads TOML and JSON, and notes where in a document each value is.

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"sluice/wire"
)

// parseTOML reads the document of that name. The error has a place if it is a
// *toml.DecodeError.
func parseTOML(name string, document []byte) (root map[string]any, p places, err error) {
	if err = toml.Unmarshal(document, &root); err == nil {
		p = places{name, document, map[string]int{}, map[string]int{}, map[string]int{}}
		err = p.read()
	}
	return root, p, err
}

// maxDepth bounds for how deep a value its place is noted. Settings are four deep.
const maxDepth = 8

// places are the offsets of keys and values in a document, by path: the keys and indexes
// that lead there. The decoder has none for what it accepts, but the parser below it has.
type places struct {
	name     string
	document []byte
	keys     map[string]int
	values   map[string]int
	tables   map[string]int // how many tables an array of tables has so far
}

func (p *places) read() error {
	var parser unstable.Parser
	parser.Reset(p.document)
	table := ""
	for parser.NextExpression() {
		if e := parser.Expression(); e.Kind == unstable.KeyValue {
			p.value(p.key(table, e), e.Value())
		} else {
			table = p.key("", e)
		}
	}
	return parser.Error()
}

// key notes where the parts of an expression's key are and returns the path.
func (p *places) key(path string, e *unstable.Node) string {
	for k := e.Key(); k.Next() && strings.Count(path, "\x00") < maxDepth; {
		offset := int(k.Node().Raw.Offset)
		path += "\x00" + string(k.Node().Data)
		if _, ok := p.keys[path]; !ok {
			p.keys[path] = offset
		}
		if k.IsLast() && e.Kind == unstable.ArrayTable {
			p.tables[path]++
		}
		if n := p.tables[path]; n > 0 {
			path += "\x00" + strconv.Itoa(n-1)
		}
		if _, ok := p.values[path]; !ok {
			p.values[path] = offset
		}
	}
	return path
}

// value notes where a value is, and what is in it. One that the parser has no place for is
// where its key is, or the list around it.
func (p *places) value(path string, v *unstable.Node) {
	if v.Raw.Length > 0 {
		p.values[path] = int(v.Raw.Offset)
	}
	switch children := v.Children(); {
	case strings.Count(path, "\x00") >= maxDepth:
	case v.Kind == unstable.Array:
		for i := 0; children.Next(); i++ {
			p.value(path+"\x00"+strconv.Itoa(i), children.Node())
		}
	case v.Kind == unstable.InlineTable:
		for children.Next() {
			p.value(p.key(path, children.Node()), children.Node().Value())
		}
	}
}

// of returns the place of a path, of keys or values, or otherwise.
func (p *places) of(offsets map[string]int, path string, otherwise Origin) Origin {
	offset, ok := offsets[path]
	if !ok {
		return otherwise
	}
	before := p.document[:offset]
	return Origin{
		Kind: FromFile, Name: p.name,
		Line: bytes.Count(before, []byte("\n")) + 1, Column: offset - bytes.LastIndexByte(before, '\n'),
	}
}

// parseJSON reads a JSON text into values as those of TOML, but for numbers.
func parseJSON(text string) (value any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err = d.Decode(&value)
	var se *json.SyntaxError
	switch {
	case errors.As(err, &se):
		err = fmt.Errorf("%w (byte %d)", se, se.Offset)
	case err == nil:
		err = wire.CheckIJSON([]byte(text)) // a key twice
	}
	return value, err
}
