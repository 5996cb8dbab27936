// Package deploy tests what the gateway is deployed by: the Helm chart, compose.yaml, Grafana's
// dashboard and the workflows. A module of its own, since what it needs is much larger than the product.
package deploy

import (
	"bytes"
	"io"
	"log"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/strvals"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// TestMain drops what Helm logs of a chart whose alerts are a symbolic link.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// root is the repository's.
const root = "../.."

const chartDir = root + "/deploy/helm/sluice"

// required are the values without which the chart does not render.
const required = "token: {existingSecret: bot}\n"

// everything switches on all that is off by default.
const everything = required + `
httpToken: {existingSecret: http}
existingEnvSecret: env
spool: {enabled: true, storageClassName: fast}
store: {storageClassName: fast}
shutdownTimeout: 1m30.5s
imagePullSecrets: [{name: registry}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
prometheusRule: {enabled: true, labels: {release: prometheus}}
networkPolicy: {enabled: true, ingressFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}
podAnnotations: {a: b}
podLabels: {c: d}
nodeSelector: {disk: ssd}
tolerations: [{key: x, operator: Exists}]
affinity: {nodeAffinity: {}}
priorityClassName: high
service: {annotations: {e: f}}
serviceAccount: {annotations: {g: h}}
`

// objects are a chart's, decoded strictly: a field that Kubernetes does not have is an error.
type objects struct {
	stateful   apps.StatefulSet
	services   []core.Service
	account    *core.ServiceAccount
	disruption *policy.PodDisruptionBudget
	network    *networking.NetworkPolicy
	monitor    *monitoring.ServiceMonitor
	rule       *monitoring.PrometheusRule
}

// render renders the chart with the values.
func render(t *testing.T, text string) (o objects, err error) {
	t.Helper()
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return renderChart(t, chart, values)
}

func renderChart(t *testing.T, chart *chart.Chart, values chartutil.Values) (o objects, err error) {
	t.Helper()
	all, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "bot", Namespace: "discord"}, nil)
	if err != nil {
		return o, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return o, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(name) != ".yaml" {
			continue
		}
		for doc := range strings.SplitSeq(files[name], "\n---\n") {
			var kind struct{ Kind string }
			if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			var into any
			switch kind.Kind {
			case "":
				continue // nothing but a comment
			case "StatefulSet":
				into = &o.stateful
			case "Service":
				o.services = append(o.services, core.Service{})
				into = &o.services[len(o.services)-1]
			case "ServiceAccount":
				o.account = new(core.ServiceAccount)
				into = o.account
			case "PodDisruptionBudget":
				o.disruption = new(policy.PodDisruptionBudget)
				into = o.disruption
			case "NetworkPolicy":
				o.network = new(networking.NetworkPolicy)
				into = o.network
			case "ServiceMonitor":
				o.monitor = new(monitoring.ServiceMonitor)
				into = o.monitor
			case "PrometheusRule":
				o.rule = new(monitoring.PrometheusRule)
				into = o.rule
			default:
				t.Fatalf("%s: kind %q", name, kind.Kind)
			}
			if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
				t.Errorf("%s: %v\n%s", name, err, doc)
			}
		}
	}
	return o, nil
}

// helm lint has nothing to say but that the chart has no icon.
func TestChartLint(t *testing.T) {
	for _, text := range []string{required, everything} {
		values, err := chartutil.ReadValues([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lint.All(chartDir, values, "discord", true).Messages {
			if m.Severity > support.InfoSev || !strings.Contains(m.Error(), "icon") {
				t.Error(m)
			}
		}
	}
}

func TestChart(t *testing.T) {
	o, err := render(t, required)
	if err != nil {
		t.Fatal(err)
	}
	pod := o.stateful.Spec.Template.Spec
	c := pod.Containers[0]
	if !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault ||
		!*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation || !slices.Equal(c.SecurityContext.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("%+v, %+v", pod.SecurityContext, c.SecurityContext)
	}
	if got := *pod.TerminationGracePeriodSeconds; got != 25 { // shutdownTimeout is 10s
		t.Errorf("%d seconds to end in", got)
	}
	if c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.StartupProbe.HTTPGet.Path != "/livez" {
		t.Errorf("%+v, %+v, %+v", c.LivenessProbe, c.ReadinessProbe, c.StartupProbe)
	}
	if claims := o.stateful.Spec.VolumeClaimTemplates; len(claims) != 1 || claims[0].Name != "state" {
		t.Errorf("%+v", claims)
	}
	if o.disruption == nil || o.account == nil || len(o.services) != 2 || o.network != nil || o.monitor != nil || o.rule != nil {
		t.Errorf("%+v", o)
	}
	for _, s := range o.services {
		if !maps.Equal(s.Spec.Selector, o.stateful.Spec.Selector.MatchLabels) {
			t.Errorf("%s selects %v", s.Name, s.Spec.Selector)
		}
	}
	if o, err = render(t, required+"store: {type: redis}\n"); err != nil || len(o.stateful.Spec.VolumeClaimTemplates) != 0 ||
		!slices.ContainsFunc(o.stateful.Spec.Template.Spec.Volumes, func(v core.Volume) bool { return v.Name == "state" && v.EmptyDir != nil }) {
		t.Errorf("with sessions in Redis: %+v, %v", o.stateful.Spec, err)
	}
}

func TestChartWithEverything(t *testing.T) {
	o, err := render(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	if got := *o.stateful.Spec.Template.Spec.TerminationGracePeriodSeconds; got != 91+15 {
		t.Errorf("%d seconds to end in", got)
	}
	if claims := o.stateful.Spec.VolumeClaimTemplates; len(claims) != 2 {
		t.Errorf("%+v", claims)
	}
	if o.monitor == nil || o.network == nil || len(o.network.Spec.Ingress) != 1 || len(o.network.Spec.Egress) != 1 {
		t.Fatalf("%+v", o)
	}
	// The ServiceMonitor finds one Service, so that nothing is scraped twice.
	found := 0
	for _, s := range o.services {
		matches := true
		for k, v := range o.monitor.Spec.Selector.MatchLabels {
			matches = matches && s.Labels[k] == v
		}
		if matches {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the ServiceMonitor finds %d services: %+v", found, o.monitor.Spec)
	}
	hasAlerts(t, o.rule)
}

// hasAlerts looks whether the rule is deploy/prometheus/alerts.yaml, with its templates untouched.
func hasAlerts(t *testing.T, rule *monitoring.PrometheusRule) {
	t.Helper()
	text, err := os.ReadFile(root + "/deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(text, &want); err != nil {
		t.Fatal(err)
	}
	got, _ := yaml.Marshal(rule.Spec)
	if all, _ := yaml.Marshal(want); !bytes.Equal(got, all) || len(want.Groups) == 0 {
		t.Errorf("the PrometheusRule is not deploy/prometheus/alerts.yaml:\n%s", got)
	}
}

// Under another name the job is the one that alerts and dashboard go by.
func TestChartNames(t *testing.T) {
	for _, name := range []string{"", "nameOverride: gateway\n", "fullnameOverride: gateway\n"} {
		o, err := render(t, everything+name)
		if err != nil {
			t.Fatal(err)
		}
		job := o.services[0].Name // what the operator sets without a jobLabel
		if l := o.monitor.Spec.JobLabel; l != "" {
			job = o.services[0].Labels[l]
		}
		for _, c := range o.monitor.Spec.Endpoints[0].RelabelConfigs {
			if c.TargetLabel == "job" && c.Action == "" && len(c.SourceLabels) == 0 && c.Regex == "" && c.Replacement != nil {
				job = *c.Replacement
			}
		}
		if job != "sluice" {
			t.Errorf("%q: the job is %q", name, job)
		}
	}
}

// A chart that helm package has made has the alerts, which are a link in the repository.
func TestChartPackage(t *testing.T) {
	source, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	file, err := chartutil.Save(source, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	packed, err := loader.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.ReadValues([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	o, err := renderChart(t, packed, values)
	if err != nil {
		t.Fatal(err)
	}
	hasAlerts(t, o.rule)
}

// What is wrong is refused before anything is installed.
func TestChartValues(t *testing.T) {
	for text, want := range map[string]string{
		"":                                                         "token.existingSecret",
		required + "replicas: 2\n":                                 "replicas",
		required + "store: {type: memory}\n":                       "store",
		required + "shutdownTimeout: 10\n":                         "shutdownTimeout",
		required + "shutdownTimeout: 1 day\n":                      "shutdownTimeout",
		required + "settings: {DISCORD_TOKEN: a}\n":                "DISCORD_TOKEN",
		required + "settings: {redis.urls: a}\n":                   "redis.urls",
		required + "podDisruptionBudget: {maxUnavailable: half}\n": "maxUnavailable",
	} {
		if _, err := render(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want one with %s", text, err, want)
		}
	}
}

// What docs/install.md says to install by renders, and there the broker's URL is that of the
// Secret: a variable of settings would win over it.
func TestChartDocs(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	values := chartutil.Values{}
	for _, m := range regexp.MustCompile(`--set (\S+)`).FindAllSubmatch(text, -1) {
		if err := strvals.ParseInto(string(m[1]), values); err != nil {
			t.Error(err)
		}
	}
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	o, err := renderChart(t, chart, values)
	if err != nil {
		t.Fatal(err)
	}
	c := o.stateful.Spec.Template.Spec.Containers[0]
	if c.Image != "registry.example/sluice:1.0.0" || len(c.EnvFrom) != 1 || slices.ContainsFunc(c.Env, func(v core.EnvVar) bool { return v.Name == "REDIS_URL" }) {
		t.Errorf("%s, %v, %v", c.Image, c.Env, c.EnvFrom)
	}
}
