package deploy

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// Prometheus of the profile monitoring finds the gateway and its alerts, and Grafana finds
// Prometheus and the dashboard: by the names, ports and paths that compose.yaml gives them.
func TestComposeMonitoring(t *testing.T) {
	project := compose(t, "monitoring")
	gateway, prometheus, grafana := project.Services["gateway"], project.Services["prometheus"], project.Services["grafana"]

	var scraped struct {
		RuleFiles     []string `json:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string                       `json:"job_name"`
			MetricsPath   string                       `json:"metrics_path"`
			StaticConfigs []struct{ Targets []string } `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	mounted(t, prometheus, "/etc/prometheus/prometheus.yml", &scraped) // where the image looks for it
	if len(scraped.ScrapeConfigs) != 1 || len(scraped.RuleFiles) == 0 {
		t.Fatalf("%+v", scraped)
	}
	host, port, err := net.SplitHostPort(env(gateway, "PROMETHEUS_ADDRESS"))
	if err != nil || host != "0.0.0.0" {
		t.Errorf("metrics are served at %q, %v: another container does not reach that", host, err)
	}
	job := scraped.ScrapeConfigs[0]
	if job.JobName != "sluice" || job.MetricsPath != env(gateway, "PROMETHEUS_ENDPOINT") ||
		len(job.StaticConfigs) != 1 || !slices.Equal(job.StaticConfigs[0].Targets, []string{gateway.Name + ":" + port}) {
		t.Errorf("Prometheus scrapes %+v; the gateway serves %s at port %s", job, env(gateway, "PROMETHEUS_ENDPOINT"), port)
	}
	for _, file := range scraped.RuleFiles {
		var rules struct{ Groups []any }
		if mounted(t, prometheus, file, &rules); len(rules.Groups) == 0 {
			t.Errorf("%s has no rules", file)
		}
	}

	var sources struct{ Datasources []struct{ Type, URL string } }
	mounted(t, grafana, "/etc/grafana/provisioning/datasources/prometheus.yaml", &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" {
		t.Fatalf("%+v", sources)
	}
	u, err := url.Parse(sources.Datasources[0].URL)
	if err != nil || u.Hostname() != prometheus.Name || !slices.ContainsFunc(prometheus.Ports, func(p types.ServicePortConfig) bool { return u.Port() == fmt.Sprint(p.Target) }) {
		t.Errorf("Grafana asks %v for metrics, %v; Prometheus listens on %+v", u, err, prometheus.Ports)
	}
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	mounted(t, grafana, "/etc/grafana/provisioning/dashboards/sluice.yaml", &providers)
	home := env(grafana, "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH")
	if len(providers.Providers) != 1 || providers.Providers[0].Options.Path != path.Dir(home) {
		t.Errorf("dashboards are looked for in %+v, and the home is %s", providers, home)
	}
	var dashboard struct{ Panels []any }
	if mounted(t, grafana, home, &dashboard); len(dashboard.Panels) == 0 {
		t.Errorf("%s is no dashboard", home)
	}
}

// mounted decodes the file that the service has at the path.
func mounted(t *testing.T, s types.ServiceConfig, at string, into any) {
	t.Helper()
	for _, v := range s.Volumes {
		rest, below := strings.CutPrefix(at, v.Target)
		if v.Type != types.VolumeTypeBind || !below || rest != "" && rest[0] != '/' {
			continue
		}
		text, err := os.ReadFile(filepath.Join(v.Source, rest))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", v.Source, err)
		}
		return
	}
	t.Fatalf("%s has no %s", s.Name, at)
}

func env(s types.ServiceConfig, name string) string {
	if value := s.Environment[name]; value != nil {
		return *value
	}
	return ""
}
