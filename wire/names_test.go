// This file tests the tables: opcodes, close codes and intents.

package wire

import (
	"slices"
	"strings"
	"testing"
)

// Each close code has the meaning, and is followed by what Discord documents.
func TestCloseCodes(t *testing.T) {
	table := []struct {
		code    CloseCode
		action  CloseAction
		meaning string
	}{
		{1000, ActionResumeOnce, "Normal closure"},
		{1001, ActionResume, "Going away"},
		{1002, ActionResume, "Protocol error"},
		{1005, ActionResume, "No code"},
		{1006, ActionResume, "No close frame"},
		{1007, ActionResume, "Invalid payload"},
		{1009, ActionResume, "Message too big"},
		{1011, ActionResume, "Internal error"},
		{4000, ActionResume, "Unknown error"},
		{4001, ActionResume, "Unknown opcode"},
		{4002, ActionResume, "Decode error"},
		{4003, ActionIdentify, "Not authenticated"},
		{4004, ActionStop, "Authentication failed"},
		{4005, ActionResumeOnce, "Already authenticated"},
		{4006, ActionIdentify, "Session invalid"},
		{4007, ActionIdentify, "Invalid seq"},
		{4008, ActionResume, "Rate limited"},
		{4009, ActionIdentify, "Session timed out"},
		{4010, ActionStop, "Invalid shard"},
		{4011, ActionStop, "Sharding required"},
		{4012, ActionStop, "Invalid API version"},
		{4013, ActionStop, "Invalid intent(s)"},
		{4014, ActionStop, "Disallowed intent(s)"},
	}
	var codes []CloseCode
	for _, c := range table {
		codes = append(codes, c.code)
		if c.code.Action() != c.action || c.code.String() != c.meaning {
			t.Errorf("%d: %v, %q; want %v, %q", c.code, c.code.Action(), c.code.String(), c.action, c.meaning)
		}
	}
	if got := CloseCodes(); !slices.Equal(got, codes) {
		t.Errorf("CloseCodes() = %d, want %d", got, codes)
	}
	CloseCodes()[0] = 1
	if CloseCodes()[0] != CloseNormal {
		t.Error("CloseCodes returns its own table")
	}
	// Whatever else a server closes with is worth another try.
	for code := range 0x10000 {
		c := CloseCode(code)
		if !slices.Contains(codes, c) && c.Action() != ActionResume {
			t.Errorf("%d: %v", c, c.Action())
		}
	}
	if got := CloseCode(4016).String(); got != "close code 4016" {
		t.Errorf("4016 is %q", got)
	}
	for a, want := range map[CloseAction]string{ActionResume: "resume", ActionResumeOnce: "resume once, then identify",
		ActionIdentify: "identify", ActionStop: "stop"} {
		if a.String() != want {
			t.Errorf("action %d is %q", a, a)
		}
	}
}

// Names, bits and sets of intents, as Discord documents them.
func TestIntents(t *testing.T) {
	names := IntentNames()
	if len(names) != 21 {
		t.Errorf("%d intents", len(names))
	}
	var sum, last Intents
	for _, name := range names {
		i, ok := ParseIntent(name)
		if !ok || i <= last || i.String() != name {
			t.Errorf("%s: %d %v, %v", name, uint64(i), i, ok)
		}
		sum, last = sum+i, i
	}
	if sum != AllIntents {
		t.Errorf("the sum of all is %d, AllIntents %d", uint64(sum), uint64(AllIntents))
	}
	if AllIntents != 53608447 || UnprivilegedIntents != 53575421 {
		t.Errorf("all: %d, unprivileged: %d", uint64(AllIntents), uint64(UnprivilegedIntents))
	}
	if got, want := AllIntents.Privileged().String(), "GUILD_MEMBERS|GUILD_PRESENCES|MESSAGE_CONTENT"; got != want {
		t.Errorf("privileged: %s", got)
	}
	if got := AllIntents.String(); got != strings.Join(names, "|") {
		t.Errorf("all: %s", got)
	}
	for i, want := range map[Intents]string{0: "0", 1<<17 | 1: "GUILDS|1<<17", 1 << 63: "1<<63"} {
		if i.String() != want {
			t.Errorf("%d: %s, want %s", uint64(i), i, want)
		}
	}
	for name, want := range map[string]Intents{"GUILD_BANS": 1 << 2, "GUILD_EMOJIS": 1 << 3, "GUILD_EMOJIS_AND_STICKERS": 1 << 3} {
		if got, ok := ParseIntent(name); !ok || got != want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "guilds", "GUILD", "1"} {
		if got, ok := ParseIntent(name); ok {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestOpcodes(t *testing.T) {
	want := map[Opcode]string{0: "Dispatch", 1: "Heartbeat", 2: "Identify", 3: "Presence Update", 4: "Voice State Update",
		6: "Resume", 7: "Reconnect", 8: "Request Guild Members", 9: "Invalid Session", 10: "Hello", 11: "Heartbeat ACK",
		31: "Request Soundboard Sounds", 43: "Request Channel Info", 5: "op 5", -1: "op -1"}
	for op, name := range want {
		if op.String() != name {
			t.Errorf("op %d is %q, want %q", int(op), op, name)
		}
	}
}

func TestEventNames(t *testing.T) {
	names := EventNames()
	if n := len(names); n != 79 {
		t.Errorf("%d events, want 79", n)
	}
	for i, name := range names {
		if slices.Index(names, name) != i {
			t.Errorf("%s is there twice", name)
		}
	}
	for name, want := range map[string]Intents{
		"READY": 0, "GUILD_CREATE": IntentGuilds, "MESSAGE_CREATE": IntentGuildMessages | IntentDirectMessages, "NO_SUCH_EVENT": 0,
	} {
		if got := EventIntents(name); got != want {
			t.Errorf("%s comes with %s, want %s", name, got, want)
		}
	}
}
