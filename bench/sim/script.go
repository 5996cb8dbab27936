// This file reads fault scripts.

package sim

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/wire"
)

// ParseScript reads rules, one a line, as key=value fields in any order:
//
//	when=events n=100 shards=0,2 conn=1 do=close code=4000 reason="Unknown error."
//	when=resume times=3 do=cut-rst
//	when=ready after=30s do=reconnect
//	when=resume-live do=old-starved
//	when=identify-again times=-1 do=invalid-session
//	when=identify shards=3 do=slow-ready delay=5m
//
// Keys are those of Rule and Action in lower case: when, do (both required, with
// the names of Moment and Kind), shards, conn, host, n, after, times, code,
// reason (in double quotes), status, delay. What follows # is a comment. An
// error names the line.
func ParseScript(r io.Reader) ([]Rule, error) {
	var rules []Rule
	in := bufio.NewScanner(r)
	for line := 1; in.Scan(); line++ {
		fields, err := scriptFields(in.Text())
		if err == nil && len(fields) > 0 {
			var rule Rule
			if rule, err = parseRule(fields); err == nil {
				rules = append(rules, rule)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("sim: script line %d: %w", line, err)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("sim: script: %w", err)
	}
	return rules, nil
}

// ScriptNames returns the names of moments and kinds, the values of when and do.
func ScriptNames() (when, do []string) { return momentNames[:], kindNames[:] }

// scriptFields splits a line into keys and values.
func scriptFields(line string) ([][2]string, error) {
	var out [][2]string
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == '#' {
			return out, nil
		}
		key, rest, ok := strings.Cut(line, "=")
		if !ok || strings.ContainsAny(key, " \t\"") {
			return nil, fmt.Errorf("no key=value at %q", line)
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			if value, err = strconv.Unquote(quoted); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			line = rest[len(quoted):]
		} else {
			end := strings.IndexAny(rest, " \t")
			if end < 0 {
				end = len(rest)
			}
			value, line = rest[:end], rest[end:]
		}
		out = append(out, [2]string{key, value})
	}
}

func parseRule(fields [][2]string) (Rule, error) {
	var r Rule
	var when, do bool
	for _, f := range fields {
		key, value := f[0], f[1]
		var err error
		switch key {
		case "when":
			i := slices.Index(momentNames[:], value)
			if i < 0 {
				return r, fmt.Errorf("when=%s is none of %s", value, strings.Join(momentNames[:], ", "))
			}
			r.When, when = Moment(i), true
		case "do":
			if r.Do.Kind, err = ParseKind(value); err != nil {
				return r, err
			}
			do = true
		case "shards":
			for _, s := range strings.Split(value, ",") {
				n, e := strconv.Atoi(s)
				if e != nil {
					err = e
				}
				r.Shards = append(r.Shards, n)
			}
		case "conn":
			r.Conn, err = strconv.Atoi(value)
		case "host":
			r.Host = value
			if value != RoleGateway && value != RoleResume && value != RoleAPI {
				return r, fmt.Errorf("host=%s is none of %s, %s, %s", value, RoleGateway, RoleResume, RoleAPI)
			}
		case "n":
			r.N, err = strconv.Atoi(value)
		case "after":
			r.After, err = time.ParseDuration(value)
		case "times":
			r.Times, err = strconv.Atoi(value)
		case "code":
			var n int
			n, err = strconv.Atoi(value)
			r.Do.Code = wire.CloseCode(n)
		case "reason":
			r.Do.Reason = value
		case "status":
			r.Do.Status, err = strconv.Atoi(value)
		case "delay":
			r.Do.Delay, err = time.ParseDuration(value)
		default:
			return r, fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", key, err)
		}
	}
	if !when || !do {
		return r, fmt.Errorf("when and do are required")
	}
	if r.Do.Kind == CloseFrame && r.Do.Code == 0 {
		return r, fmt.Errorf("do=close needs a code")
	}
	if aboutOld.Has(r.Do.Kind) && r.When != OnIdentifyAgain && r.When != OnResumeLive {
		return r, fmt.Errorf("do=%v needs when=%v or when=%v", r.Do.Kind, OnIdentifyAgain, OnResumeLive)
	}
	return r, nil
}

// ParseKind returns the kind of a name.
func ParseKind(name string) (Kind, error) {
	i := slices.Index(kindNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("%q is none of %s", name, strings.Join(kindNames[:], ", "))
	}
	return Kind(i), nil
}
