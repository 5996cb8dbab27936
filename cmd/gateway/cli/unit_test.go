// This file holds the unit for systemd to what the program does.

package cli

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A process that ends with what no restart heals is not restarted: all exit codes of the table
// but for 0 and 1.
func TestUnitRestarts(t *testing.T) {
	unit, err := os.ReadFile("../../../deploy/systemd/sluice.service")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^  (\d+) `).FindAllStringSubmatch(topics["exit"], -1) {
		if m[1] != "0" && m[1] != "1" {
			want = append(want, m[1])
		}
	}
	m := regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindStringSubmatch(unixText(unit))
	if m == nil || !slices.Equal(strings.Fields(m[1]), want) || len(want) < 8 {
		t.Errorf("the unit has %q, want %q", m, want)
	}
}

// launchd is given a property list that is one, of the form that it has for a daemon.
func TestLaunchd(t *testing.T) {
	text, err := os.ReadFile("../../../deploy/launchd/sluice.gateway.plist")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Dict struct {
			Items []struct {
				XMLName xml.Name
				Text    string   `xml:",chardata"`
				Strings []string `xml:"string"`
			} `xml:",any"`
		} `xml:"dict"`
	}
	d := xml.NewDecoder(strings.NewReader(string(text)))
	if err := d.Decode(&list); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	kinds := map[string]string{"Label": "string", "ProgramArguments": "array", "UserName": "string", "WorkingDirectory": "string", "Umask": "integer",
		"StandardErrorPath": "string", "RunAtLoad": "true", "KeepAlive": "dict", "ThrottleInterval": "integer", "ExitTimeOut": "integer"}
	items := list.Dict.Items
	if len(items) != 2*len(kinds) {
		t.Fatalf("%d keys and values, want %d", len(items), 2*len(kinds))
	}
	for i := 0; i < len(items); i += 2 {
		key, value := items[i], items[i+1]
		if key.XMLName.Local != "key" || kinds[key.Text] != value.XMLName.Local {
			t.Errorf("%s %q has the value %s", key.XMLName.Local, key.Text, value.XMLName.Local)
		}
		switch key.Text {
		case "Label":
			if value.Text != "sluice.gateway" {
				t.Errorf("the label %q is not the name of the file", value.Text)
			}
		case "ProgramArguments":
			if cmd, err := parseCommand(value.Strings[1:]); err != nil || cmd.name != "run" || cmd.file == "" {
				t.Errorf("%q: %+v, %v", value.Strings, cmd, err)
			}
		}
	}
}
