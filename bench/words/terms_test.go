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
}

// terms are the words of the field: one for one thing, the one that an operator greps for. Names of
// identifiers are not looked at.
var terms = []term{
	{words(`tak(es?|ing) no events|tak(es?|ing) nothing`), "unavailable; buffering events"},
	{words(`tak(es?|ing) events again`), "available again"},
	{words(`(is|are) away|they wait`), "unavailable; buffering events"},
	{words(`short of \w+`), "blocked, low on …"},
	{words(`set(s|ting)? aside`), "dead-lettered (an event), discarded (a session)"},
	{words(`letters`), "dead letters"},
	{words(`tells|told|a word`), "logged, reports, notified"},
	{words(`ways? out|the end|ends itself`), "shutdown, stop, exit"},
	{words(`ways? of an event`), "the event path"},
	{words(`on (its|their) way|under way`), "in flight, pending"},
	{words(`comes? again|been repeated`), "redelivered, duplicate"},
	{words(`hand(s|ed)? on`), "published, forwarded"},
	{words(`takes? the place of|in the place of`), "replaces"},
	{words(`lanes?`), "publisher"},
	{words(`outlets?`), "queue"},
	{words(`mail|mailbox`), "wakeup flags"},
	{words(`paces?|paced`), "poll interval"},
	{words(`batch_?wait`), "linger"},
	{words(`fences?|fenced`), "offset; fence is kept for refusing a deposed process"},
	{words(`marks?|seen`), "dedup position"},
	{words(`stored`), "persisted, snapshot"},
	{words(`ElsewhereError`), "NotLocalError"},
	{words(`lends?|lent`), "borrowed"},
	{words(`putAside|spare|room`), "deadLetter, headroom, capacity"},
	{words(`knows|learns?|learn(ed|t)`), "reads, has"},
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
	{"docs/consumers/go/seen.go", "seen: ", "its errors"},
	{"docs/consumers/go/redis/main.go", ":seen:", "a key in Redis of the sample"},
	{"sinks/redis/sink.go", "fence", "a key in Redis, which running processes have"},
	{"sinks/redis/sink.go", "seen", "a key in Redis: a new name would lose the dedup positions"},
	{"cmd/gateway/config/settings.go", "reader.pace", "the old name of a setting"},
	{"cmd/gateway/config/settings.go", "READER_PACE", "the same"},
	{"cmd/gateway/config/settings.go", "broker.batch_wait", "the old name of a setting"},
	{"cmd/gateway/config/settings.go", "BROKER_BATCH_WAIT", "the same"},
	{"cmd/gateway-bench/sim.go", "stored", "deflate's stored blocks (RFC 1951)"},
	{"bench/sim/record.go", "stored", "the same"},
}
