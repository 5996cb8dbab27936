// This file reads the presence object of the Identify.

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// presence is the object as Discord wants it: all four keys are required.
// https://docs.discord.com/developers/events/gateway-events#update-presence
type presence struct {
	Since      *int64     `json:"since"`
	Activities []activity `json:"activities"`
	Status     string     `json:"status"`
	AFK        bool       `json:"afk"`
}

// activity has the fields that a bot can set.
type activity struct {
	Name  string `json:"name"`
	Type  int    `json:"type"`
	URL   string `json:"url,omitempty"`
	State string `json:"state,omitempty"`
}

// activityTypes are the names of the types, in the order of their numbers.
var activityTypes = []string{"playing", "streaming", "listening", "watching", "custom", "competing"}

const (
	activityStreaming = 1
	activityCustom    = 4
)

// maxPresence bounds the object in bytes, so that an Identify with it stays
// below what Discord takes in one payload (4,096 bytes).
const maxPresence = 3 << 10

// presenceObject is a presence as JSON with all four keys.
func presenceObject(to *[]byte) value {
	return valueOf("table; JSON in the variable", to, presenceTOML, func(in input) []byte {
		if in.loose {
			var err error
			if in.value, err = parseJSON(in.value.(string)); err != nil {
				in.errorf(`not JSON, such as {"status":"online"}: %s`, err)
				return nil
			}
			in.loose = false
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(in.presence()); err != nil {
			panic("config: presence: " + err.Error()) // plain texts and numbers
		}
		object := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
		if len(object) > maxPresence {
			in.errorf("has %d bytes as JSON, more than the %d that fit in an Identify", len(object), maxPresence)
		}
		return object
	})
}

func (in input) presence() *presence {
	p := &presence{Activities: []activity{}, Status: "online"}
	in.members(`status = "online"`, []string{"since", "activities", "status", "afk"}, "", map[string]func(input){
		"since": func(in input) {
			since := in.number(0, math.MaxInt64)
			p.Since = &since
		},
		"activities": func(in input) {
			for i, v := range in.list(`[{name = "chess", type = 0}]`) {
				v.key += "[" + strconv.Itoa(i) + "]"
				p.Activities = append(p.Activities, v.activity())
			}
		},
		"game": func(in input) {
			in.warnf("game is the old form; it counts as an activity: write [[presence.activities]]")
			p.Activities = append(p.Activities, in.activity())
		},
		"status": oneOf(&p.Status, "online", "dnd", "idle", "invisible", "offline").then(func(in input) {
			if p.Status == "offline" {
				in.warnf("offline does nothing; invisible shows the bot as offline")
			}
		}).read,
		"afk": func(in input) { p.AFK = want[bool](in, "false") },
	})
	return p
}

func (in input) activity() (a activity) {
	before := in.r.errors
	in.members(`{name = "chess", type = 0}`, []string{"name", "type", "url", "state"}, "; a bot can set name, type, url, state", map[string]func(input){
		"name":  text(&a.Name, "", "chess", nil).read,
		"url":   text(&a.URL, "", "https://www.twitch.tv/discord", nil).read,
		"state": text(&a.State, "", "checkmate in two", nil).read,
		"type": func(in input) {
			if kindOf(in.value) == kindText {
				a.Type = in.index(activityTypes)
			} else {
				a.Type = int(in.number(0, int64(len(activityTypes)-1)))
			}
		},
	})
	switch {
	case in.r.errors > before:
	case a.Type == activityCustom && a.State == "":
		in.errorf("a custom activity shows its state, which is missing")
	case a.Type == activityCustom && a.Name == "":
		a.Name = "Custom Status" // required, and not shown
	case a.Name == "":
		in.errorf("name is missing")
	case a.Type == activityStreaming && a.URL == "":
		in.warnf("without a url of Twitch or YouTube a streaming activity shows as playing")
	case a.Type != activityStreaming && a.URL != "":
		in.warnf("Discord takes url for a streaming activity only (type = 1)")
	}
	return a
}

// members reads a table's members by key; null counts as not there. known are the keys to
// hint at, and note is what to say of another one.
func (in input) members(example string, known []string, note string, read map[string]func(input)) {
	table := want[map[string]any](in, example)
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if read[key] == nil {
			in.r.add(Error, in.keyAt(key), in.key, "unknown key %.60q%s%s", key, note, didYouMean(key, known))
		} else if table[key] != nil {
			read[key](in.child(table[key], key, "."+key))
		}
	}
}

// presenceTOML writes a presence object as an inline table.
func presenceTOML(object []byte) string {
	if object == nil {
		return ""
	}
	var p presence
	if err := json.Unmarshal(object, &p); err != nil {
		panic("config: presence: " + err.Error()) // our own JSON
	}
	since := ""
	if p.Since != nil {
		since = fmt.Sprintf("since = %d, ", *p.Since)
	}
	var activities []string
	for _, a := range p.Activities {
		text := fmt.Sprintf("{name = %s, type = %d", quote(a.Name), a.Type)
		if a.URL != "" {
			text += ", url = " + quote(a.URL)
		}
		if a.State != "" {
			text += ", state = " + quote(a.State)
		}
		activities = append(activities, text+"}")
	}
	return fmt.Sprintf("{%sactivities = [%s], status = %s, afk = %t}", since, strings.Join(activities, ", "), quote(p.Status), p.AFK)
}
