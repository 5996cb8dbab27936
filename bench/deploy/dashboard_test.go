package deploy

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// The dashboard has each field that Grafana's schema asks for, none that it does not have, and
// none of another type.
func TestDashboard(t *testing.T) {
	runtime := cog.NewRuntime()
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	runtime.RegisterPanelcfgVariant(heatmap.VariantConfig())
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(statetimeline.VariantConfig())
	runtime.RegisterPanelcfgVariant(table.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())

	text, err := os.ReadFile(root + "/deploy/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard.Dashboard
	if err := d.UnmarshalJSONStrict(text); err != nil && err.Error() != "" { // it is never nil
		t.Error(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	// Grafana shows an unknown unit as it is, behind the number.
	known := []string{units.Short, units.Seconds, units.BytesIEC, units.BytesPerSecondSI, units.OpsPerSecond}
	for _, m := range regexp.MustCompile(`"unit": "([^"]*)"`).FindAllSubmatch(text, -1) {
		if !slices.Contains(known, string(m[1])) {
			t.Errorf("unit %q", m[1])
		}
	}
}
