package deploy

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// The manifests of docs/fleet.md are what Kubernetes takes, and their variables are settings.
func TestFleetDocs(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("docs/fleet.md has no manifests")
	}
	docs := strings.Split(string(block[1]), "---\n")
	if len(docs) != 2 {
		t.Fatalf("%d manifests", len(docs))
	}
	var d apps.Deployment
	var b policy.PodDisruptionBudget
	for i, into := range []any{&d, &b} {
		if err := yaml.UnmarshalStrict([]byte(docs[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	labels := d.Spec.Template.Labels
	if d.Kind != "Deployment" || b.Kind != "PodDisruptionBudget" || len(labels) == 0 ||
		!maps.Equal(d.Spec.Selector.MatchLabels, labels) || !maps.Equal(b.Spec.Selector.MatchLabels, labels) {
		t.Errorf("the selectors of %s and %s are not the labels of the pods, %v", d.Kind, b.Kind, labels)
	}
	settings, err := os.ReadFile(root + "/docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Spec.Template.Spec.Containers[0].Env {
		if !strings.Contains(string(settings), "`"+v.Name+"`") {
			t.Errorf("docs/settings.md has no %s", v.Name)
		}
	}
	if grace := d.Spec.Template.Spec.TerminationGracePeriodSeconds; grace == nil || *grace != 25 { // shutdown_timeout and 15 s
		t.Error("the pods are killed while they hand over")
	}
}
