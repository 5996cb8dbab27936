package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// An action has a version, and the token no rights but those that are named. make deploy runs
// actionlint over the rest.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(root + "/.github/workflows/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`uses: (\S+)`).FindAllSubmatch(text, -1) {
			if !regexp.MustCompile(`@v\d+(\.\d+)*$`).Match(m[1]) {
				t.Errorf("%s: %s has no version", file, m[1])
			}
		}
		if !regexp.MustCompile(`(?m)^permissions:`).Match(text) {
			t.Errorf("%s: the token has all permissions", file)
		}
	}
}
