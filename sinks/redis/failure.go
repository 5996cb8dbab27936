// This file tells Redis' errors apart: what will pass, and what will not.

package redis

import (
	"errors"
	"strings"
)

// failure is what an answer of Redis, or its absence, means.
type failure uint8

const (
	none    failure = iota
	cut             // no answer: the connection failed
	refused         // Redis takes nothing now, from this connection at least
	odd             // an answer that Redis does not give to this command: connect anew
	replica         // the server has become a replica: look for another
	unknown         // the script is not known: load it
	behind          // something else is written than was thought: send what is not, in order
	broken          // a key of the sink's own is not what the sink has made of it, and repaired
	entry           // of an entry, which may be one that Redis will never take
)

// failureOf classifies the text of an error that Redis, or a proxy before it, has answered with
// to the script as a whole. None of them says anything about an entry, so that what is
// pending waits: LOADING, OOM, MISCONF, BUSY, NOPERM, MOVED, and all that nobody here knows.
func failureOf(text string) failure {
	switch word, _, _ := strings.Cut(text, " "); {
	case word == "NOSCRIPT":
		return unknown
	case word == "READONLY":
		return replica
	case strings.HasPrefix(text, "Protocol error"): // without ERR, which rueidis leaves out
		return cut // which follows
	}
	return refused
}

// The errors of XADD that are the entry's own, or its stream's. All else passes, or is somebody's to
// mend, and must not cost an event.
const (
	wrongType = "WRONGTYPE"                      // the key is no stream
	exhausted = "exhausted the last possible ID" // of the stream
	oversized = "Elements are too large to be"   // stored; an entry of a GiB
)

// ownOfEntry reports whether an error of XADD may be the entry's own.
func ownOfEntry(text string) bool {
	return strings.HasPrefix(text, wrongType) || strings.Contains(text, exhausted) || strings.Contains(text, oversized)
}

// rights is what to do about what the user may not do.
const rights = "give the user the rights that docs/redis.md lists, with ACL SETUSER"

// remedies say what somebody could do, by the error's first word.
var remedies = map[string]string{
	"OOM":                       "raise maxmemory, shorten redis.retention, or let something else leave: Redis is full",
	"MISCONF":                   "look into Redis' log: it cannot write its snapshot to disk",
	"NOAUTH":                    "set the password in redis.urls",
	"WRONGPASS":                 "set the right user and password in redis.urls",
	"NOPERM":                    rights,
	"user executing the script": rights, // Redis 7
	"ACL failure in script":     rights, // Redis 8
	"WAIT":                      "start the replicas, or lower redis.replicas",
	"WRONGTYPE":                 "the key is not a stream: remove it, or choose other names with redis.stream",
	"MOVED":                     "name the nodes of the cluster in redis.urls, more than one",
	"LOADING":                   "wait: Redis reads its data from the disk",
	"BUSY":                      "end the script that runs, with SCRIPT KILL",
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

// What the script says of its own keys.
var (
	errForgotten = errors.New("redis: the offset is not where it was")
	errPart      = errors.New("redis: part of a batch was written before")
	errSeen      = errors.New("redis: the dedup positions are not where they were")
	errFence     = errors.New("redis: the offset is not what was written")
	errMarks     = errors.New("redis: the key of the dedup positions is no hash")
)
