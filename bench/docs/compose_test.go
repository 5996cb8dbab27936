package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
)

// TestCompose holds compose.yaml to what is in the repository: the gateway takes its
// settings, and what the services mount and run is there.
func TestCompose(t *testing.T) {
	const parse = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.Open(filepath.Join(dir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	if exec.CommandContext(t.Context(), "python3", "-c", "import yaml").Run() != nil {
		t.Skip("Python's yaml is not here: apt-get install python3-yaml")
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", parse)
	cmd.Stdin = text
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("compose.yaml: %v", err)
	}
	var file struct {
		Services map[string]struct {
			Build       string
			Command     string
			Volumes     []string
			Environment map[string]string
			DependsOn   map[string]struct{ Condition string } `json:"depends_on"`
			Healthcheck map[string]any
		}
		Volumes map[string]any
	}
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatalf("compose.yaml: %v", err)
	}

	gateway, ok := file.Services["gateway"]
	if !ok || gateway.Build != "." {
		t.Fatalf("compose.yaml has no service gateway that is built here: %+v", file.Services)
	}
	var environ []string
	for name, value := range gateway.Environment {
		if strings.HasPrefix(value, "${DISCORD_TOKEN:?") {
			value = "not.a.token"
		}
		environ = append(environ, name+"="+value)
	}
	t.Chdir(t.TempDir()) // without a gateway.toml
	if _, problems := config.Load(config.Sources{Environ: environ}); len(problems) > 0 {
		t.Errorf("the gateway's settings: %v", problems)
	}
	t.Chdir(dir)

	for name, s := range file.Services {
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			_, named := file.Volumes[source]
			if _, err := os.Stat(source); !named && (!strings.HasPrefix(source, "./") || err != nil) {
				t.Errorf("%s mounts %s, which is neither a volume nor a directory here", name, volume)
			}
		}
		for other, on := range s.DependsOn {
			if dep, ok := file.Services[other]; !ok || on.Condition == "service_healthy" && dep.Healthcheck == nil {
				t.Errorf("%s waits for %s to be %s, which it never is", name, other, on.Condition)
			}
		}
		if program := nodeProgram(s.Command); program != "" {
			if _, err := os.Stat(filepath.Join("docs/consumers/javascript", program)); err != nil {
				t.Errorf("%s runs %s: %v", name, program, err)
			}
		}
	}
}

// nodeProgram returns the file that a command has node run.
func nodeProgram(command string) string {
	fields := strings.Fields(strings.Trim(command, `"'`))
	for i, f := range fields {
		if f == "node" && i+1 < len(fields) {
			return fields[i+1]
		}
	}
	return ""
}
