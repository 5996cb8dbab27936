// This file reads the presence object of the Identify.

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
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

var (
	statuses     = []string{"online", "dnd", "idle", "invisible", "offline"}
	presenceKeys = []string{"since", "activities", "status", "afk"}
	activityKeys = []string{"name", "type", "url", "state"}
)

// maxPresence bounds the object in bytes, so that an Identify with it stays
// below what Discord takes in one payload (4,096 bytes).
const maxPresence = 3 << 10

// presence returns a presence object as JSON with all four keys.
func (in input) presence() ([]byte, bool) {
	if in.loose {
		n, err := parseJSON(in.at, in.text)
		if err != nil {
			in.errorf(`not JSON, such as {"status":"online"}: %s`, err)
			return nil, false
		}
		in.node = n
	}
	if !in.want(`status = "online"`, kindTable) {
		return nil, false
	}
	p := presence{Activities: []activity{}, Status: "online"}
	ok := true
	for _, e := range in.table {
		v := in.child(e.value, "."+e.key)
		switch e.key {
		case "since":
			if v.kind != kindNull {
				since, good := v.number(0, math.MaxInt64)
				p.Since, ok = &since, ok && good
			}
		case "status":
			var good bool
			if p.Status, good = v.oneOf(statuses...); p.Status == "offline" {
				v.warnf("offline does nothing; invisible shows the bot as offline")
			}
			ok = ok && good
		case "afk":
			ok = v.want("false", kindBoolean) && ok
			p.AFK = v.boolean
		case "activities":
			if v.kind == kindNull {
				continue
			}
			list, good := v.values(`{name = "chess", type = 0}`)
			ok = ok && good
			for i, a := range list {
				a.key += "[" + strconv.Itoa(i) + "]"
				act, good := a.activity()
				p.Activities, ok = append(p.Activities, act), ok && good
			}
		case "game":
			v.warnf("game is the old form; it counts as an activity: write [[presence.activities]]")
			if v.kind == kindNull {
				continue
			}
			act, good := v.activity()
			p.Activities, ok = append(p.Activities, act), ok && good
		default:
			in.child(&node{at: e.at}, "").errorf("unknown key %.60q%s", e.key, didYouMean(e.key, presenceKeys))
			ok = false
		}
	}
	if !ok {
		return nil, false
	}
	object := p.json()
	if len(object) > maxPresence {
		in.errorf("has %d bytes as JSON, more than the %d that fit in an Identify", len(object), maxPresence)
		return nil, false
	}
	return object, true
}

func (p *presence) json() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		panic("config: presence: " + err.Error()) // plain texts and numbers
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func (in input) activity() (activity, bool) {
	var a activity
	if !in.want(`{name = "chess", type = 0}`, kindTable) {
		return a, false
	}
	ok := true
	for _, e := range in.table {
		v := in.child(e.value, "."+e.key)
		good := true
		switch {
		case !slices.Contains(activityKeys, e.key):
			in.child(&node{at: e.at}, "").errorf("unknown key %.60q; a bot can set %s%s",
				e.key, strings.Join(activityKeys, ", "), didYouMean(e.key, activityKeys))
			good = false
		case v.kind == kindNull:
		case e.key == "name":
			a.Name, good = v.string(`"chess"`)
		case e.key == "url":
			a.URL, good = v.string(`"https://www.twitch.tv/discord"`)
		case e.key == "state":
			a.State, good = v.string(`"checkmate in two"`)
		case v.kind == kindText:
			var name string
			name, good = v.oneOf(activityTypes...)
			a.Type = slices.Index(activityTypes, name)
		default:
			var n int64
			n, good = v.number(0, int64(len(activityTypes)-1))
			a.Type = int(n)
		}
		ok = ok && good
	}
	if !ok {
		return a, false
	}
	switch {
	case a.Type == activityCustom && a.State == "":
		in.errorf("a custom activity shows its state, which is missing")
		return a, false
	case a.Type == activityCustom && a.Name == "":
		a.Name = "Custom Status" // required, and not shown
	case a.Name == "":
		in.errorf("name is missing")
		return a, false
	case a.Type == activityStreaming && a.URL == "":
		in.warnf("without a url of Twitch or YouTube a streaming activity shows as playing")
	case a.Type != activityStreaming && a.URL != "":
		in.warnf("Discord takes url for a streaming activity only (type = 1)")
	}
	return a, true
}

// presenceTOML writes a presence object as an inline table.
func presenceTOML(object []byte) string {
	var p presence
	if err := json.Unmarshal(object, &p); err != nil {
		panic("config: presence: " + err.Error()) // our own JSON
	}
	var b strings.Builder
	b.WriteByte('{')
	if p.Since != nil {
		fmt.Fprintf(&b, "since = %d, ", *p.Since)
	}
	b.WriteString("activities = [")
	for i, a := range p.Activities {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "{name = %s, type = %d", quote(a.Name), a.Type)
		if a.URL != "" {
			b.WriteString(", url = " + quote(a.URL))
		}
		if a.State != "" {
			b.WriteString(", state = " + quote(a.State))
		}
		b.WriteByte('}')
	}
	fmt.Fprintf(&b, "], status = %s, afk = %t}", quote(p.Status), p.AFK)
	return b.String()
}
