// This file reads what Redis answers to the script.

package redis

import (
	"fmt"

	"github.com/redis/rueidis"
)

// failureOfAnswer classifies an answer that is not of the type it should be.
func failureOfAnswer(err error) failure {
	if answer, ok := rueidis.IsRedisErr(err); ok && !answer.IsNil() {
		return failureOf(answer.Error())
	} else if ok || rueidis.IsParseErr(err) {
		return odd
	}
	return cut
}

// shape describes an answer in a few words.
func shape(parts []rueidis.RedisMessage) string {
	if len(parts) == 0 {
		return "an empty array"
	}
	first, err := parts[0].ToInt64()
	if err != nil {
		return fmt.Sprintf("an array of %d without a number at its beginning", len(parts))
	}
	return fmt.Sprintf("an array of %d that begins with %d", len(parts), first)
}

// parseAnswer returns how many of the entries are written, and, if not all, why. It returns
// false for what the script does not answer: a reply to another command, or of another server.
func parseAnswer(sent *sentGroup, parts []rueidis.RedisMessage) (n int, why string, detail *rueidis.RedisMessage, ok bool) {
	if len(parts) == 0 || len(parts) > 3 {
		return 0, "", nil, false
	}
	at, err := parts[0].ToInt64()
	if err != nil || at < sent.start || at > sent.start+int64(sent.n) {
		return 0, "", nil, false
	}
	n = int(at - sent.start)
	if len(parts) == 1 {
		return n, "", nil, n == sent.n
	}
	if why, err = parts[1].ToString(); err != nil || (n == sent.n) != (why == "untrimmed") {
		return 0, "", nil, false
	}
	if len(parts) == 3 {
		detail = &parts[2]
	}
	switch why {
	case "part":
		return n, why, nil, detail == nil && n > 0
	case "positions":
		return n, why, nil, detail == nil && n == 0
	case "gap", "offset":
		return n, why, detail, detail != nil && n == 0 && detail.IsString()
	case "position":
		if detail == nil || n > 0 || !detail.IsArray() {
			return n, why, nil, false
		}
		has, _ := detail.ToArray()
		return n, why, detail, sent.moves && len(has) == 0 || !sent.moves && len(has) == sent.to-sent.from
	case "entry", "untrimmed":
		return n, why, detail, detail != nil && detail.IsString()
	}
	return 0, "", nil, false
}
