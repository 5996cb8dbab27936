package main

import (
	"strings"
	"testing"
)

const log = `=== RUN   TestA
=== RUN   TestA/b
    a_test.go:3: python3 is not here
--- PASS: TestA (0.00s)
    --- SKIP: TestA/b (0.00s)
=== RUN   TestP
=== RUN   TestP/x
=== PAUSE TestP/x
=== RUN   TestP/y
=== PAUSE TestP/y
=== CONT  TestP/x
    a_test.go:5: no /proc
=== CONT  TestP/y
    a_test.go:6: done
--- PASS: TestP (0.00s)
    --- SKIP: TestP/x (0.00s)
    --- PASS: TestP/y (0.00s)
PASS
ok  	sluice/a	0.016s
?   	sluice/b	[no test files]
=== RUN   TestC
--- SKIP: TestC (0.00s)
PASS
ok  	sluice/c	(cached)
`

func TestCheck(t *testing.T) {
	for _, tt := range []struct{ name, log, list, want string }{
		{"none listed", log, "# nothing", `3 tests were skipped that are not on the list:
	sluice/a TestA/b: a_test.go:3: python3 is not here
	sluice/a TestP/x: a_test.go:5: no /proc
	sluice/c TestC: `},
		{"all listed", log, "sluice/a TestA/b for a reason\n\nsluice/a TestP\tits subtests too\nsluice/c TestC why not", ""},
		{"another package", log, "sluice/a TestA r\nsluice/a TestP r\nsluice/a TestC r", "1 tests were skipped that are not on the list:\n\tsluice/c TestC: "},
		{"not a subtest", log, "sluice/a TestA r\nsluice/a TestP/xy r\nsluice/c TestC r", "1 tests were skipped that are not on the list:\n\tsluice/a TestP/x: a_test.go:5: no /proc"},
		{"no reason", log, "sluice/a TestA", `line 1 of the list: wanted a package, a test and a reason: "sluice/a TestA"`},
		{"without -v", "ok  	sluice/a	0.016s\n", "", "1 packages and 0 tests in the log: it is not that of go test -v"},
		{"cut", "=== RUN   TestC\n--- SKIP: TestC (0.00s)\n", "", "0 packages and 1 tests in the log: it is not that of go test -v"},
		{"cut behind a package", log + "=== RUN   TestD\n--- SKIP: TestD (0.00s)\n", "sluice/a TestA r\nsluice/a TestP r\nsluice/c TestC r",
			"1 tests were skipped that are not on the list:\n\ta package without an end TestD: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			allowed, err := parseList(tt.list)
			if err == nil {
				err = check(strings.NewReader(tt.log), allowed)
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
		})
	}
}
