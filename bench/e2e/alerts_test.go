//go:build linux

// This file holds the alerts and the dashboard to the metrics that there are, and to Prometheus' own tools.

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"sluice/cmd/gateway/metrics"
)

// Where they are.
const (
	alertsFile    = "../../deploy/prometheus/alerts.yaml"
	alertsTests   = "../../deploy/prometheus/alerts_test.yaml"
	dashboardFile = "../../deploy/grafana/dashboard.json"
	metricsDoc    = "../../docs/metrics.md"
)

// alert is a rule of the file.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

// readAlerts returns the rules of the file.
func readAlerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	readYAML(t, alertsFile, &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no alert", alertsFile)
	}
	return all
}

func readYAML(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// runPromtool fails the test if promtool does.
func runPromtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v (apt-get install prometheus has it)\n%s", strings.Join(args, " "), err, out)
	}
}

// Prometheus takes the rules, and each alert fires and resolves in a test of promtool.
func TestAlertRules(t *testing.T) {
	runPromtool(t, "check", "rules", alertsFile)
	runPromtool(t, "test", "rules", alertsTests)
	var tests struct {
		Tests []struct {
			Cases []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, alertsTests, &tests)
	fires := make(map[string][]bool) // in the order of the test
	for _, test := range tests.Tests {
		for _, c := range test.Cases {
			fires[c.Name] = append(fires[c.Name], len(c.Expected) > 0)
		}
	}
	doc, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range readAlerts(t) {
		if got := fires[a.Alert]; !slices.Equal(got, []bool{false, true, false}) {
			t.Errorf("alerts_test.yaml has %s fire %v; want: not yet, then, no more", a.Alert, got)
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" || !slices.Contains([]string{"critical", "warning"}, a.Labels["severity"]) {
			t.Errorf("%s has no summary, description or severity", a.Alert)
		}
		const page = "https://github.com/sluice-gateway/sluice/blob/main/docs/metrics.md#"
		if a.Annotations["runbook_url"] != page+strings.ToLower(a.Alert) || !bytes.Contains(doc, []byte("\n### "+a.Alert+"\n")) {
			t.Errorf("%s leads to %q; docs/metrics.md must have it", a.Alert, a.Annotations["runbook_url"])
		}
		checkExpression(t, a.Alert, a.Expr)
		for _, text := range a.Annotations {
			for _, name := range metricName.FindAllString(text, -1) {
				if knownMetric(name) == nil {
					t.Errorf("%s names %s, which is no metric", a.Alert, name)
				}
			}
		}
	}
}

var metricName = regexp.MustCompile(`\b(sluice|process)_[a-z_]+[a-z]`)

// knownMetric returns the metric that has a series of that name, or nil.
func knownMetric(name string) *metrics.Metric {
	table := metrics.Table()
	for i, m := range table {
		if m.Name == name {
			return &table[i]
		}
		if suffix, found := strings.CutPrefix(name, m.Name); found && (m.Type == metrics.Histogram || m.Type == metrics.Summary) &&
			slices.Contains([]string{"_bucket", "_sum", "_count"}, suffix) {
			return &table[i]
		}
	}
	return nil
}

// checkExpression holds an expression to the metrics and the labels that there are.
func checkExpression(t *testing.T, where, text string) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %s: %v", where, text, err)
		return
	}
	labels := []string{"job", "instance", "le", "quantile"}
	var used []string
	count := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			count++
			m := knownMetric(n.Name)
			if m == nil && n.Name != "up" {
				t.Errorf("%s has %s, which is no metric", where, n.Name)
			}
			if m != nil {
				labels = append(labels, m.Labels...)
			}
			for _, matcher := range n.LabelMatchers {
				if matcher.Name != "__name__" {
					used = append(used, matcher.Name)
				}
			}
		case *parser.AggregateExpr:
			used = append(used, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				used = append(used, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	for _, label := range used {
		if !slices.Contains(labels, label) {
			t.Errorf("%s goes by the label %s, which its metrics do not have: %s", where, label, text)
		}
	}
	if count == 0 {
		t.Errorf("%s has no metric: %s", where, text)
	}
}

// panel is what is looked at of a panel of Grafana.
type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, RefID string }

	Description string
}

// The dashboard is one that Grafana can import, and all that it asks Prometheus for is there.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID           string
		ID            *int
		Title         string
		SchemaVersion int
		Panels        []panel
		Templating    struct {
			List []struct{ Name, Type, Query any }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID != "sluice" || d.ID != nil || d.Title == "" || d.SchemaVersion < 39 || len(d.Templating.List) != 2 {
		t.Errorf("uid %q, id %v, title %q, schema %d, %d variables", d.UID, d.ID, d.Title, d.SchemaVersion, len(d.Templating.List))
	}
	// Grafana fills these in.
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$instance", ".*")
	ids := make(map[int]bool)
	taken := make(map[[2]int]string)
	expressions := 0
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if before := taken[[2]int{x, y}]; before != "" || x >= 24 {
					t.Fatalf("panel %q lies on %q, or outside", p.Title, before)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) || p.Type != "row" && p.Description == "" {
			t.Errorf("panel %q of type %s has %d targets, and the description %q", p.Title, p.Type, len(p.Targets), p.Description)
		}
		for _, target := range p.Targets {
			expressions++
			checkExpression(t, "panel "+p.Title, variables.Replace(target.Expr))
		}
	}
	if expressions < 40 {
		t.Errorf("only %d expressions", expressions)
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			checkExpression(t, "annotation "+a.Name, variables.Replace(a.Expr))
		}
	}
	if refs := regexp.MustCompile(`"uid": "([^"]*)"`).FindAllSubmatch(text, -1); len(refs) < expressions {
		t.Errorf("%d of %d expressions have a data source", len(refs), expressions)
	} else {
		for _, ref := range refs {
			if uid := string(ref[1]); uid != "${datasource}" && uid != "sluice" && uid != "-- Grafana --" {
				t.Errorf("the data source %q is not the variable", uid)
			}
		}
	}
}

// The files that a Grafana and a Prometheus in containers mount go by the same names.
func TestProvisioning(t *testing.T) {
	var prometheus struct {
		RuleFiles []string `yaml:"rule_files"`
		Jobs      []struct {
			Name string `yaml:"job_name"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "../../deploy/prometheus/prometheus.yaml", &prometheus)
	if len(prometheus.Jobs) != 1 || prometheus.Jobs[0].Name != "sluice" || len(prometheus.RuleFiles) != 1 {
		t.Errorf("prometheus.yaml: %+v", prometheus)
	}
	// promtool looks for the rules where they are mounted.
	text, err := os.ReadFile("../../deploy/prometheus/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "prometheus.yaml")
	if err := os.WriteFile(config, bytes.Replace(text, []byte("/etc/prometheus/alerts.yaml"), []byte(rules), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	runPromtool(t, "check", "config", config)
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct{ Name, Type, URL, UID string }
	}
	readYAML(t, "../../deploy/grafana/provisioning/datasources/prometheus.yaml", &sources)
	var boards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct{ Options struct{ Path string } }
	}
	readYAML(t, "../../deploy/grafana/provisioning/dashboards/sluice.yaml", &boards)
	if sources.APIVersion != 1 || len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" ||
		boards.APIVersion != 1 || len(boards.Providers) != 1 || boards.Providers[0].Options.Path == "" {
		t.Errorf("data sources %+v, dashboards %+v", sources, boards)
	}
}
