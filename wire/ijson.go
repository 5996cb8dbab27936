// This file checks JSON for what the grammar allows and decoders disagree on.

package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxCommandDepth bounds how deep the objects and arrays of a command may be
// nested. Those that Discord documents are nested three deep.
const maxCommandDepth = 100

// CheckIJSON returns an error unless text is JSON that every decoder reads alike
// (I-JSON, RFC 7493): one value in UTF-8, no half of a surrogate pair, no key twice in
// an object, no number beyond a double, no integer beyond 64 bits. Nor may it hold the
// character NUL, or be nested more than 100 deep.
func CheckIJSON(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("it is not UTF-8, in which JSON is written")
	}
	if !json.Valid(text) {
		return errors.New("it is not JSON")
	}
	c := ijson{text: text}
	return c.value(0)
}

// ijson stands at a byte of valid JSON.
type ijson struct {
	text []byte
	at   int
}

// next skips what stands between values and returns the byte that follows.
func (c *ijson) next() byte {
	for {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\r', '\n', ',', ':':
			c.at++
		default:
			return b
		}
	}
}

func (c *ijson) value(depth int) error {
	switch b := c.next(); b {
	case '{', '[':
		if depth == maxCommandDepth {
			return fmt.Errorf("it is nested more than %d deep", maxCommandDepth)
		}
		c.at++
		if b == '{' {
			return c.object(depth + 1)
		}
		for c.next() != ']' {
			if err := c.value(depth + 1); err != nil {
				return err
			}
		}
		c.at++
		return nil
	case '"':
		_, err := c.string()
		return err
	case 't', 'n':
		c.at += len("true")
	case 'f':
		c.at += len("false")
	default:
		return c.number()
	}
	return nil
}

// object checks what follows the opening brace.
func (c *ijson) object(depth int) error {
	var few [8]string // most objects have no more keys
	keys, seen := few[:0], map[string]struct{}(nil)
	for c.next() != '}' {
		key, err := c.string()
		if err != nil {
			return err
		}
		repeated := false
		if seen != nil {
			_, repeated = seen[key]
		} else {
			for _, k := range keys {
				repeated = repeated || k == key
			}
		}
		if repeated {
			return fmt.Errorf("the key %.40q stands twice", key)
		}
		switch {
		case seen != nil:
			seen[key] = struct{}{}
		case len(keys) < len(few):
			keys = append(keys, key)
		default:
			seen = map[string]struct{}{key: {}}
			for _, k := range keys {
				seen[k] = struct{}{}
			}
		}
		if err := c.value(depth); err != nil {
			return err
		}
	}
	c.at++
	return nil
}

// string checks the string that begins here and returns it decoded.
func (c *ijson) string() (string, error) {
	c.at++
	start, escaped := c.at, false
	for c.text[c.at] != '"' {
		if c.text[c.at] != '\\' {
			c.at++
			continue
		}
		escaped = true
		if c.text[c.at+1] != 'u' {
			c.at += 2
			continue
		}
		r := c.escape()
		switch {
		case r == 0:
			return "", errors.New(`it holds the character NUL (\u0000)`)
		case utf16.IsSurrogate(r):
			half := string(c.text[c.at-6 : c.at])
			if c.text[c.at] != '\\' || c.text[c.at+1] != 'u' || utf16.DecodeRune(r, c.escape()) == utf8.RuneError {
				return "", fmt.Errorf("%s is half of a surrogate pair", half)
			}
		}
	}
	s := string(c.text[start:c.at])
	c.at++
	if escaped {
		if err := json.Unmarshal(c.text[start-1:c.at], &s); err != nil {
			return "", err
		}
	}
	return s, nil
}

// escape skips \u0000 and returns its number.
func (c *ijson) escape() rune {
	n, _ := strconv.ParseUint(string(c.text[c.at+2:c.at+6]), 16, 16)
	c.at += 6
	return rune(n)
}

func (c *ijson) number() error {
	start := c.at
	for c.at < len(c.text) && strings.IndexByte("+-.0123456789eE", c.text[c.at]) >= 0 {
		c.at++
	}
	text := string(c.text[start:c.at])
	if strings.ContainsAny(text, ".eE") {
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return fmt.Errorf("the number %.40s is beyond a double", text)
		}
		return nil
	}
	_, err := strconv.ParseInt(text, 10, 64)
	if err != nil && text[0] != '-' {
		_, err = strconv.ParseUint(text, 10, 64)
	}
	if err != nil {
		return fmt.Errorf("the integer %.40s is beyond 64 bits", text)
	}
	return nil
}
