// This file has the terms, and what may differ from them.

package words_test

import (
	"regexp"
	"strings"
)

// term is a word that is not used, and the one that is.
type term struct {
	avoid *regexp.Regexp
	write string

	// inCode says that the code has the word in names that cannot change, in keys and scripts of Redis
	// and of consumers, or in another sense: only documentation is held to it.
	inCode bool
}

// terms are the words of the field: one for one thing, the one that an operator greps for. Names of
// identifiers are not looked at.
var terms = []term{
	{words(`tak(es?|ing) no events|tak(es?|ing) nothing`), "unavailable; buffering events", false},
	{words(`tak(es?|ing) events again`), "available again", false},
	{words(`(is|are) away|they wait`), "unavailable; buffering events", false},
	{words(`short of \w+`), "blocked, low on …", false},
	{words(`set(s|ting)? aside`), "dead-lettered (an event), discarded (a session)", false},
	{words(`letters`), "dead letters", false},
	{words(`tells|told|a word`), "logged, reports, notified", false},
	{words(`ways? out|the end|ends itself`), "shutdown, stop, exit", false},
	{words(`ways? of an event`), "the event path", false},
	{words(`on (its|their) way|under way`), "in flight, pending", false},
	{words(`comes? again|been repeated`), "redelivered, duplicate", false},
	{words(`hand(s|ed)? on`), "published, forwarded", false},
	{words(`takes? the place of|in the place of`), "replaces", false},
	{words(`lanes?`), "publisher", false},
	{words(`outlets?`), "queue", false},
	{words(`mail|mailbox`), "wakeup flags", false},
	{words(`paces?|paced`), "poll interval", false},
	{words(`batch_?wait`), "linger", false},
	{words(`fences?|fenced`), "offset; fence is kept for refusing a deposed process", true},
	{words(`marks?|seen`), "dedup position", true},
	{words(`stored`), "persisted, snapshot", true},
	{words(`ElsewhereError`), "NotLocalError", false},
	{words(`lends?|lent`), "borrowed", false},
	{words(`putAside|spare|room`), "deadLetter, headroom, capacity", false},
	{words(`knows|learns?|learn(ed|t)`), "reads, has", false},
}

// words returns an expression for whole words, in either case and with any white space between them.
func words(avoid string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(?:` + strings.ReplaceAll(avoid, " ", `\s+`) + `)\b`)
}

// otherLetters are letters of another kind.
var otherLetters = regexp.MustCompile(`(?i)\b(dead|capital)[-_\s]letter(s|ed)?\b`)

// allowed are uses of such a word that stay, each with what stands around it in its file.
var allowed = []struct{ file, text, reason string }{
	{"docs/delivery.md", "sluice:seen:<bot>", "a key in Redis: a new name would lose the dedup positions"},
	{"docs/redis.md", "sluice:seen:<bot>", "the same"},
	{"docs/redis.md", "sluice:fence:<id of the process>", "a key in Redis, which running processes have"},
	{"docs/delivery.md", "`Seen`", "the name of the consumers' library"},
	{"docs/consumers/README.md", "`Seen`", "the same"},
	{"docs/consumers/README.md", "`seen.go`, `seen.py` and `seen.js`", "its files"},
	{"docs/consumers/README.md", "testdata/seen.json", "its vectors"},
	{"cmd/gateway/config/settings.go", "reader.pace", "the old name of a setting"},
	{"cmd/gateway/config/settings.go", "READER_PACE", "the same"},
	{"cmd/gateway/config/settings.go", "broker.batch_wait", "the same"},
	{"cmd/gateway/config/settings.go", "BROKER_BATCH_WAIT", "the same"},
}
