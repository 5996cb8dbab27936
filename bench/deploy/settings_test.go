package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The variables of chart and compose.yaml are settings, and gateway check has nothing to say
// against them.
func TestVariables(t *testing.T) {
	dir := t.TempDir()
	program := buildGateway(t)
	for name, secret := range map[string]string{"token": "not.a.token\n", "http-token": "0123456789abcdef\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings, err := os.ReadFile(root + "/docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, environ []string) {
		for _, v := range environ {
			if name, _, _ := strings.Cut(v, "="); !strings.Contains(string(settings), "`"+name+"`") {
				t.Errorf("%s: docs/settings.md has no %s", what, name)
			}
		}
		cmd := exec.CommandContext(t.Context(), program, "check")
		cmd.Dir, cmd.Env = dir, environ
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "warning: ") || len(environ) < 5 {
			t.Errorf("%s: %q: %v\n%s", what, environ, err, out)
		}
	}

	var environ []string
	gateway := compose(t).Services["gateway"]
	for name := range gateway.Environment {
		environ = append(environ, name+"="+env(gateway, name))
	}
	check("compose.yaml", environ)
	for _, values := range []string{required, everything} {
		o, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		environ = nil
		for _, v := range o.stateful.Spec.Template.Spec.Containers[0].Env {
			environ = append(environ, v.Name+"="+strings.Replace(v.Value, "/run/secrets/sluice", dir, 1))
		}
		check("the chart", environ)
	}
}
