//go:build long

// This file runs the product's own tests again with goleak at their end. It is
// laid over them from here, so that the product's module does not require it.

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const leakTest = `package %s

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
`

// No test of the product leaves a goroutine behind: what a shard, sink or store starts ends with
// it.
func TestNoGoroutineLeft(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	goCommand := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(dir, "go.work"))
		return cmd.CombinedOutput()
	}
	work := fmt.Sprintf("go 1.26.0\n\nuse (\n\t%q\n\t%q\n)\n", root, filepath.Join(root, "bench", "e2e"))
	if err := os.WriteFile(filepath.Join(dir, "go.work"), []byte(work), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := goCommand("list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}\t{{.Name}}{{end}}", "sluice/...")
	if err != nil {
		t.Fatalf("%v\n%s", err, list)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		folder, name, _ := strings.Cut(line, "\t")
		if strings.HasPrefix(folder, filepath.Join(root, "bench")) {
			continue // e2e has its own, and the others are no part of the product
		}
		file := filepath.Join(dir, fmt.Sprintf("leak%d_test.go", i))
		if err := os.WriteFile(file, fmt.Appendf(nil, leakTest, name), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(folder, "goleak_test.go")] = file
	}
	if len(overlay.Replace) < 5 {
		t.Fatalf("only %d packages with tests: %v", len(overlay.Replace), overlay.Replace)
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "-count=1", "-skip", "^TestCluster$", "-overlay", filepath.Join(dir, "overlay.json")}
	for folder := range overlay.Replace {
		args = append(args, filepath.Dir(folder))
	}
	if out, err := goCommand(args...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
