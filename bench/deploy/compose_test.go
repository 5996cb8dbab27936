package deploy

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose.yaml is one, with and without the profile that brings Prometheus and Grafana, which
// write to no file of the repository.
func TestCompose(t *testing.T) {
	for _, profiles := range [][]string{nil, {"monitoring"}} {
		project := compose(t, profiles...)
		want := []string{"bot", "gateway", "redis"}
		if profiles != nil {
			want = append(want, "grafana", "prometheus")
		}
		names := project.ServiceNames()
		slices.Sort(names)
		slices.Sort(want)
		if !slices.Equal(names, want) {
			t.Errorf("profiles %q: services %q, want %q", profiles, names, want)
		}
		for _, s := range project.Services {
			for _, v := range s.Volumes {
				if v.Type == "bind" && !v.ReadOnly {
					t.Errorf("%s can write to %s", s.Name, v.Source)
				}
			}
			for _, p := range s.Ports {
				if p.HostIP != "127.0.0.1" {
					t.Errorf("%s listens on %q", s.Name, p.HostIP)
				}
			}
		}
		if env := project.Services["gateway"].Environment["DISCORD_TOKEN"]; env == nil || !strings.Contains(*env, "token") {
			t.Error("the gateway has no token")
		}
	}
}

// compose loads compose.yaml.
func compose(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{root + "/compose.yaml"}, cli.WithProfiles(profiles), cli.WithEnv([]string{"DISCORD_TOKEN=not.a.token"}), cli.WithName("sluice"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}
