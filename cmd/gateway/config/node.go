// This file reads TOML and JSON into one tree of values, each with its place.

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
)

// kind is the kind of a node; its text completes "must be … but is …".
type kind string

const (
	kindText    kind = "text"
	kindInteger kind = "a whole number"
	kindFloat   kind = "a number with a fraction"
	kindBoolean kind = "true or false"
	kindDate    kind = "a date or time"
	kindList    kind = "a list"
	kindTable   kind = "a table"
	kindNull    kind = "null"
)

// node is a value with its place. A text from the environment or from a flag
// is loose: it stands for any kind of value.
type node struct {
	at      Origin
	kind    kind
	loose   bool
	text    string // of kindText
	integer int64
	boolean bool
	list    []*node
	table   []entry // in the order of the source
}

// entry is a key of a table.
type entry struct {
	key   string
	at    Origin // of the key
	value *node
}

// get returns the value of the key, or nil.
func (n *node) get(key string) *node {
	for _, e := range n.table {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// syntaxError is a mistake in the notation itself.
type syntaxError struct {
	line, column int
	text         string
}

func (e *syntaxError) Error() string { return e.text }

// parseTOML reads a document. The positions of the nodes are in the file of
// that name. The error is a *syntaxError.
func parseTOML(name string, document []byte) (*node, error) {
	// The decoder knows every rule of TOML, keys given twice included; the
	// tree is built from the parser's expressions, for they have positions.
	if err := toml.Unmarshal(document, new(map[string]any)); err != nil {
		var de *toml.DecodeError
		if errors.As(err, &de) {
			line, column := de.Position()
			text := strings.TrimPrefix(de.Error(), "toml: ")
			if strings.HasPrefix(text, "unexpected character") {
				text = "expected a value; a text needs quotes around it"
			}
			return nil, &syntaxError{line, column, text}
		}
		return nil, &syntaxError{text: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	t := tomlTree{name: name, lines: lineStarts(document)}
	t.parser.Reset(document)
	root := &node{at: Origin{Kind: FromFile, Name: name, Line: 1, Column: 1}, kind: kindTable}
	current := root
	for t.parser.NextExpression() {
		e := t.parser.Expression()
		switch e.Kind {
		case unstable.KeyValue:
			t.set(current, e)
		case unstable.Table:
			parent, last := t.descend(root, e)
			current = t.child(parent, last)
		case unstable.ArrayTable:
			parent, last := t.descend(root, e)
			at := t.at(last)
			list := parent.get(string(last.Data))
			if list == nil {
				list = &node{at: at, kind: kindList}
				parent.table = append(parent.table, entry{string(last.Data), at, list})
			}
			current = &node{at: at, kind: kindTable}
			list.list = append(list.list, current)
		}
	}
	if err := t.parser.Error(); err != nil {
		return nil, &syntaxError{text: err.Error()}
	}
	return root, nil
}

// tomlTree makes nodes of the parser's expressions.
type tomlTree struct {
	parser unstable.Parser
	name   string
	lines  []int // offset of each line's first byte
}

func lineStarts(document []byte) []int {
	starts := []int{0}
	for i, c := range document {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

func (t *tomlTree) at(n *unstable.Node) Origin {
	offset := int(n.Raw.Offset)
	low, high := 0, len(t.lines)
	for high-low > 1 {
		if middle := (low + high) / 2; t.lines[middle] <= offset {
			low = middle
		} else {
			high = middle
		}
	}
	return Origin{Kind: FromFile, Name: t.name, Line: low + 1, Column: offset - t.lines[low] + 1}
}

// descend follows the expression's key from the table, all but its last part,
// which is returned with the table that it belongs into.
func (t *tomlTree) descend(table *node, e *unstable.Node) (*node, *unstable.Node) {
	keys := e.Key()
	keys.Next()
	last := keys.Node()
	for keys.Next() {
		table = t.child(table, last)
		last = keys.Node()
	}
	return table, last
}

// child returns the table's table of that key, which is made if there is none;
// of a list of tables the last one.
func (t *tomlTree) child(table *node, key *unstable.Node) *node {
	child := table.get(string(key.Data))
	if child == nil {
		child = &node{at: t.at(key), kind: kindTable}
		table.table = append(table.table, entry{string(key.Data), child.at, child})
	}
	if child.kind == kindList && len(child.list) > 0 {
		return child.list[len(child.list)-1]
	}
	return child
}

func (t *tomlTree) set(table *node, e *unstable.Node) {
	table, last := t.descend(table, e)
	at := t.at(last)
	table.table = append(table.table, entry{string(last.Data), at, t.value(at, e.Value())})
}

// value makes a node of a value. Its place is that of its own bytes or, where
// the parser keeps none, at.
func (t *tomlTree) value(at Origin, v *unstable.Node) *node {
	if v.Raw.Length > 0 {
		at = t.at(v)
	}
	n := &node{at: at}
	switch v.Kind {
	case unstable.String:
		n.kind, n.text = kindText, string(v.Data)
	case unstable.Bool:
		n.kind, n.boolean = kindBoolean, v.Data[0] == 't'
	case unstable.Integer:
		// The decoder has checked digits, underscores and range.
		n.kind = kindInteger
		n.integer, _ = strconv.ParseInt(string(v.Data), 0, 64)
	case unstable.Float:
		n.kind = kindFloat
	case unstable.Array:
		n.kind = kindList
		for c := v.Children(); c.Next(); {
			n.list = append(n.list, t.value(at, c.Node()))
		}
	case unstable.InlineTable:
		n.kind = kindTable
		for c := v.Children(); c.Next(); {
			t.set(n, c.Node())
		}
	default:
		n.kind = kindDate
	}
	return n
}

// parseJSON reads a JSON text that stands at the place. The error is a
// *syntaxError.
func parseJSON(at Origin, text string) (*node, error) {
	// The decoder's own check bounds the depth; the tokens alone would not.
	if err := json.Unmarshal([]byte(text), new(any)); err != nil {
		var se *json.SyntaxError
		if errors.As(err, &se) {
			return nil, &syntaxError{text: fmt.Sprintf("%s (byte %d)", se, se.Offset)}
		}
		return nil, &syntaxError{text: err.Error()}
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	return jsonNode(at, d)
}

func jsonNode(at Origin, d *json.Decoder) (*node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, &syntaxError{text: err.Error()}
	}
	n := &node{at: at}
	switch v := token.(type) {
	case nil:
		n.kind = kindNull
	case bool:
		n.kind, n.boolean = kindBoolean, v
	case string:
		n.kind, n.text = kindText, v
	case json.Number:
		n.kind = kindFloat
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			n.kind, n.integer = kindInteger, i
		}
	case json.Delim:
		n.kind = kindList
		if v == '{' {
			n.kind = kindTable
		}
		for d.More() {
			var key string
			if n.kind == kindTable {
				token, err := d.Token()
				if err != nil {
					return nil, &syntaxError{text: err.Error()}
				}
				key = token.(string)
				if n.get(key) != nil {
					return nil, &syntaxError{text: fmt.Sprintf("the key %.40q is there twice", key)}
				}
			}
			value, err := jsonNode(at, d)
			if err != nil {
				return nil, err
			}
			if n.kind == kindTable {
				n.table = append(n.table, entry{key, at, value})
			} else {
				n.list = append(n.list, value)
			}
		}
		if _, err := d.Token(); err != nil { // the closing bracket
			return nil, &syntaxError{text: err.Error()}
		}
	}
	return n, nil
}
