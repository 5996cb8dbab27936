// This file tells Redis' errors apart: what will pass, and what will not.

package redis

import (
	"errors"
	"strings"
)

// failure is what an answer of Redis, or its absence, means.
type failure uint8

const (
	none      failure = iota
	cut               // no answer: the connection failed
	refused           // Redis takes nothing now, from this connection at least
	replica           // the server has become a replica: look for another
	unknown           // the script is not known: load it
	gap               // something else is written than was thought: send what is not, in order
	poisonous         // this entry will never be taken
)

// temporary are the errors, by their first word, that say nothing about the entry.
var temporary = map[string]failure{
	"OOM":         refused,
	"MISCONF":     refused, // it cannot save, and is configured to refuse writes then
	"LOADING":     refused,
	"BUSY":        refused, // another script runs
	"NOREPLICAS":  refused,
	"MASTERDOWN":  refused,
	"CLUSTERDOWN": refused,
	"TRYAGAIN":    refused,
	"NOAUTH":      refused,
	"WRONGPASS":   refused,
	"NOPERM":      refused,
	"READONLY":    replica,
	"NOSCRIPT":    unknown,
	"gap":         gap,
	"part":        gap,
	"seen":        gap,
}

// remedies say what somebody could do, by the error's first word.
var remedies = map[string]string{
	"OOM":       "raise maxmemory, shorten redis.retention, or let something else leave: Redis is full",
	"MISCONF":   "look into Redis' log: it cannot write its snapshot to disk",
	"NOAUTH":    "set the password in redis.urls",
	"WRONGPASS": "set the right user and password in redis.urls",
	"NOPERM":    "allow the user EVALSHA, SCRIPT, XADD and XTRIM on the streams, and GET, SET, HMGET, HGETALL, HSET and EXPIRE on sluice:*",
	"WAIT":      "start the replicas, or lower redis.replicas",
	"WRONGTYPE": "the key is not a stream: remove it, or choose other names with redis.stream",
}

// failureOf classifies the text of an error that Redis has answered with.
func failureOf(text string) failure {
	word, _, _ := strings.Cut(text, " ")
	if f, ok := temporary[word]; ok {
		return f
	}
	return poisonous
}

// remedyFor returns what somebody could do about an error, or nothing.
func remedyFor(err error) string {
	text := err.Error()
	for word, remedy := range remedies {
		if strings.Contains(text, word) {
			return remedy
		}
	}
	return ""
}

// errForgotten is a fence that Redis has in an older state.
var errForgotten = errors.New("redis: the fence is not where it was")
