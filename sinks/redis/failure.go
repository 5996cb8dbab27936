// This file distinguishes Redis' errors: what will pass, and what will not.

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
// pending waits: LOADING, OOM, MISCONF, BUSY, NOPERM, MOVED, and all unknown ones.
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

// Problem is what is wrong with Redis, or with how it is reached.
type Problem uint8

const (
	Login         Problem = iota + 1 // no user and password, or wrong ones
	Rights                           // the user may not do what the gateway does
	Database                         // the server has no such database
	NoSentinel                       // the server of a master set is no Sentinel
	Untrusted                        // the server's certificate is not trusted
	NotTrusted                       // the server does not trust the client's
	NoTLS                            // the server does not speak TLS at this port
	NoHost                           // DNS does not know the host
	OutOfMemory                      // the server is full
	NoSnapshot                       // the server cannot write to its disk
	FewReplicas                      // too few replicas have an event
	NoStream                         // the key of a stream is something else
	Moved                            // the slot is another node's, and not found there
	Loading                          // the server reads its data from the disk
	Busy                             // the server runs somebody's script
	NotMaster                        // the server is a replica
	NotRedis                         // the server's reply is no RESP
	NoScripts                        // the server's answer is not the script's
	ScriptUnknown                    // the server does not know the script that it was given
	KeysChanged                      // somebody else writes to the sink's own keys
	NoFleet                          // the server is part of a Cluster, to which a fleet does not write
)

// Error is a failure with a problem that is known.
type Error struct {
	Problem Problem
	Err     error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// known are parts of what Redis says of a problem. The first that is found counts.
var known = [...]struct {
	word    string
	problem Problem
}{
	{"OOM", OutOfMemory},
	{"MISCONF", NoSnapshot},
	{"NOAUTH", Login},
	{"WRONGPASS", Login},
	{"NOPERM", Rights},
	{"user executing the script", Rights}, // Redis 7
	{"ACL failure in script", Rights},     // Redis 8
	{"WAIT", FewReplicas},
	{"WRONGTYPE", NoStream},
	{"MOVED", Moved},
	{"LOADING", Loading},
	{"BUSY", Busy},
}

// explain returns err as an *Error if its problem is known by its text.
func explain(err error) error {
	if errors.As(err, new(*ConfigError)) || errors.As(err, new(*Error)) {
		return err
	}
	text := err.Error()
	for _, w := range known {
		if strings.Contains(text, w.word) {
			return &Error{w.problem, err}
		}
	}
	return err
}

// What the script says of its own keys.
var (
	errForgotten = errors.New("redis: the offset is not where it was")
	errPart      = errors.New("redis: part of a batch was written before")
	errPosition  = errors.New("redis: the dedup positions are not where they were")
	errOffset    = errors.New("redis: the offset is not what was written")
	errPositions = errors.New("redis: the key of the dedup positions is no hash")
)
