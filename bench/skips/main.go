// Skips reads what go test -v printed and ends with exit code 1 if a test was skipped
// that is not on a list:
//
//	skips list <log
//
// A line of the list has a package, a test and the reason for which it may be skipped. A
// line that begins with # is a comment. A test stands for its subtests too.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: skips list <log")
		os.Exit(2)
	}
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		var allowed []skip
		if allowed, err = parseList(string(text)); err == nil {
			err = check(os.Stdin, allowed)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "skips: %v\n", err)
		os.Exit(1)
	}
}

// skip is a skipped test, or one that may be.
type skip struct{ pkg, test, reason string }

// allows reports whether s, a line of the list, stands for a skipped test.
func (s skip) allows(t skip) bool {
	return s.pkg == t.pkg && (s.test == t.test || strings.HasPrefix(t.test, s.test+"/"))
}

func parseList(text string) (list []skip, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d of the list: wanted a package, a test and a reason: %q", n, line)
		}
		list = append(list, skip{fields[0], fields[1], strings.Join(fields[2:], " ")})
	}
	return list, nil
}

var (
	testLine = regexp.MustCompile(`^=== (?:RUN|CONT|NAME) +(\S+)`)
	skipLine = regexp.MustCompile(`^ *--- SKIP: (\S+) \(`)
	// The last line for a package: it comes after those of its tests.
	packageLine = regexp.MustCompile(`^(?:ok  |FAIL|\?   )\t(\S+)`)
)

// check returns an error that names the skipped tests that are not allowed. A log without a
// single package or test is one too: then it is not what it is taken for.
func check(log io.Reader, allowed []skip) error {
	var skipped, bad []skip
	packages, tests := 0, 0
	test, said := "", map[string]string{} // the last line of each test of a package
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := testLine.FindStringSubmatch(line); m != nil {
			tests++
			test = m[1]
		} else if m := skipLine.FindStringSubmatch(line); m != nil {
			skipped = append(skipped, skip{test: m[1], reason: said[m[1]]})
		} else if m := packageLine.FindStringSubmatch(line); m != nil {
			packages++
			for _, s := range skipped {
				s.pkg = m[1]
				ok := false
				for _, a := range allowed {
					ok = ok || a.allows(s)
				}
				if !ok {
					bad = append(bad, s)
				}
			}
			skipped = nil
			clear(said)
		} else if !strings.Contains(line, "--- PASS: ") && !strings.HasPrefix(line, "=== ") {
			said[test] = strings.TrimSpace(line)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if packages == 0 || tests == 0 {
		return fmt.Errorf("%d packages and %d tests in the log: it is not that of go test -v", packages, tests)
	}
	for _, s := range skipped { // the log ends within a package
		bad = append(bad, skip{"a package without an end", s.test, s.reason})
	}
	if len(bad) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d tests were skipped that are not on the list:", len(bad))
	for _, s := range bad {
		fmt.Fprintf(&b, "\n\t%s %s: %s", s.pkg, s.test, s.reason)
	}
	return errors.New(b.String())
}
