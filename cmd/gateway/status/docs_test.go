// This file holds docs/status.md to the types.

package status

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/engine"
)

func readPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/status.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// row is a row of a table of fields.
type row struct{ field, kind string }

// tables returns the tables of fields by the headings before them.
func tables(page string) map[string][]row {
	all := make(map[string][]row)
	heading := ""
	for line := range strings.Lines(page) {
		if m := regexp.MustCompile("^### `(.*)`").FindStringSubmatch(line); m != nil {
			heading = m[1]
		} else if m := regexp.MustCompile("^\\| `([a-z_0-9]+)`( \\*)? \\| ([^|]*) \\|").FindStringSubmatch(line); m != nil && heading != "" {
			all[heading] = append(all[heading], row{m[1] + m[2], m[3]})
		}
	}
	return all
}

// kind returns what the column of types begins with, and the type of the fields below, if there are any.
func kind(t reflect.Type) (name string, fields reflect.Type) {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time", nil
	case t.Kind() == reflect.Pointer:
		name, fields = kind(t.Elem())
		return name + " or null", fields
	case t.Kind() == reflect.Struct:
		return "object", t
	case t.Kind() == reflect.Slice:
		_, fields = kind(t.Elem())
		return "list", fields
	case t.Kind() == reflect.Map:
		return "object", nil
	case t.Kind() == reflect.Bool:
		return "true or false", nil
	case t.Kind() == reflect.String:
		return "text", nil
	case t.Kind() == reflect.Float64:
		return "number, ", nil // with its unit
	}
	return "integer", nil
}

func TestPageHasTheFields(t *testing.T) {
	page := tables(readPage(t))
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		heading := path
		if path == "" {
			heading = "/status"
		}
		rows := page[heading]
		delete(page, heading)
		var want, got []string
		for i := range of.NumField() {
			name, options, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			field := name
			if options == "omitempty" {
				field += " *"
			}
			want = append(want, field)
			typ, fields := kind(of.Field(i).Type)
			if i < len(rows) && rows[i].kind != typ && !strings.HasPrefix(rows[i].kind, strings.TrimSuffix(typ, ", ")+", ") {
				t.Errorf("%s: %s is %q, want %q", heading, field, rows[i].kind, typ)
			}
			if fields == nil || fields == reflect.TypeFor[Named]() || fields.NumField() == 0 {
				continue
			}
			below := strings.TrimPrefix(path+"."+name, ".")
			if typ == "list" {
				below += "[]"
			}
			walk(below, fields)
		}
		for _, r := range rows {
			got = append(got, r.field)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has the fields\n%q, want\n%q", heading, got, want)
		}
	}
	walk("", reflect.TypeFor[Status]())
	for heading := range page {
		t.Errorf("the document has no %s", heading)
	}
}

func TestPageHasTheStatesAndChecks(t *testing.T) {
	page := readPage(t)
	for state := engine.Idle; state.String() != "unknown"; state++ {
		if !strings.Contains(page, "`"+state.String()+"`") {
			t.Errorf("no state %v", state)
		}
	}
	for _, c := range newSource(t, &state{}).Checks() {
		if !regexp.MustCompile(fmt.Sprintf("(?m)^\\| `%s` \\| .*`/%s`", c.Name, c.Of)).MatchString(page) {
			t.Errorf("no check %s of %s", c.Name, c.Of)
		}
	}
}

func TestPageExample(t *testing.T) {
	_, text, _ := strings.Cut(readPage(t), "```json\n")
	text, _, _ = strings.Cut(text, "```")
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var example Status
	if err := d.Decode(&example); err != nil || example.Version != Version || example.Health.Checks[2].Text == "" || len(example.Shards.List) != example.Shards.Run {
		t.Errorf("%v: %+v", err, example)
	}
	whole, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	var again any
	var shown any
	if json.Unmarshal(whole, &again) != nil || json.Unmarshal([]byte(text), &shown) != nil || !reflect.DeepEqual(again, shown) {
		t.Errorf("the example lacks something:\n%s", whole)
	}
}
