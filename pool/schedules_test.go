// This file tests the argument in ring.go for the order of its operations: a copy of the ring, whose
// sync/atomic lets the test choose which goroutine goes on, is run in every order that a few
// preemptions make possible. A processor shows some of them once in a million times, or never.

package pool

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestRingSchedules(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/schedules")); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("ring.go")
	if err != nil {
		t.Fatal(err)
	}
	ring := string(source)
	for _, c := range [][2]string{
		{`"sync/atomic"`, `"schedules/atomic"`},
		{"\t<-b.wake\n", "\tatomic.Until(func() bool { return len(b.wake) > 0 })\n\t<-b.wake\n"},
	} {
		if strings.Count(ring, c[0]) != 1 {
			t.Fatalf("ring.go does not have %q once", c[0])
		}
		ring = strings.Replace(ring, c[0], c[1], 1)
	}
	for name, text := range map[string]string{"ring.go": ring, "go.mod": "module schedules\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-vet=off", "-v", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
