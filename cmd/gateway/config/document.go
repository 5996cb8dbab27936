// This file reads TOML and JSON, and notes where in a document each value is.

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"sluice/wire"
)

// parseTOML reads the document of that name. The error has a place if it is a
// *toml.DecodeError.
func parseTOML(name string, document []byte) (map[string]any, *places, error) {
	root := map[string]any{}
	if err := toml.Unmarshal(document, &root); err != nil {
		return nil, nil, err
	}
	p := &places{name: name, document: document, keys: map[string]int{}, values: map[string]int{}, tables: map[string]int{}}
	return root, p, p.read()
}

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
			p.keyValue(table, e)
		} else {
			table = p.key("", e)
		}
	}
	return parser.Error()
}

// key notes where the parts of an expression's key are and returns the path.
func (p *places) key(path string, e *unstable.Node) string {
	for k := e.Key(); k.Next(); {
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

func (p *places) keyValue(table string, e *unstable.Node) {
	path := p.key(table, e)
	p.value(path, p.values[path], e.Value())
}

// value notes where a value is, and what is in it: at, if the parser keeps no place for it.
func (p *places) value(path string, at int, v *unstable.Node) {
	if v.Raw.Length > 0 {
		at = int(v.Raw.Offset)
	}
	p.values[path] = at
	switch children := v.Children(); v.Kind {
	case unstable.Array:
		for i := 0; children.Next(); i++ {
			p.value(path+"\x00"+strconv.Itoa(i), at, children.Node())
		}
	case unstable.InlineTable:
		for children.Next() {
			p.keyValue(path, children.Node())
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

// parseJSON reads a JSON text into values as those of TOML.
func parseJSON(text string) (any, error) {
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		var se *json.SyntaxError
		if errors.As(err, &se) {
			return nil, fmt.Errorf("%w (byte %d)", se, se.Offset)
		}
		return nil, err
	}
	if err := wire.CheckIJSON([]byte(text)); err != nil { // a key twice
		return nil, err
	}
	return integers(value), nil
}

// integers replaces the whole numbers in a value of JSON.
func integers(value any) any {
	switch v := value.(type) {
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = integers(v[key])
		}
	}
	return value
}
