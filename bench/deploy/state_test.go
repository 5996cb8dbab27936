package deploy

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The image's working directory, below which the control socket is, takes files whatever keeps the sessions: the roots
// of chart and compose.yaml are read-only, and so is the unit's.
func TestStateDirectory(t *testing.T) {
	text, err := os.ReadFile(root + "/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^WORKDIR (/.*)\n(?:.*\n)*?ARG VERSION`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the image has no working directory")
	}
	data := string(m[1])
	if n := strings.Count(string(text), "\nCOPY "); !strings.Contains(string(text), "USER 65534:65534\n") || strings.Count(string(text), "--chown=65534:65534") != 2 || n == 0 {
		t.Errorf("%s is not the user's", data)
	}
	for _, values := range []string{required, everything, required + "store: {type: redis}\n", everything + "settings: {SHARD_STORE_PREFIX: a}\n"} {
		o, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		pod := o.stateful.Spec.Template.Spec
		c := pod.Containers[0]
		if c.WorkingDir != "" {
			t.Errorf("the chart's working directory is %s", c.WorkingDir)
		}
		for _, v := range c.Env {
			if v.Name == "SHARD_STORE_DIRECTORY" {
				t.Errorf("the chart has the state directory %s", v.Value)
			}
		}
		var names []string
		for _, v := range c.VolumeMounts {
			if v.MountPath == data && !v.ReadOnly {
				names = append(names, v.Name)
			}
		}
		for _, v := range pod.Volumes {
			if slices.Contains(names, v.Name) && v.EmptyDir == nil {
				t.Errorf("%s is mounted at %s", v.Name, data)
			}
		}
		if *pod.SecurityContext.FSGroup != 65534 || *pod.SecurityContext.RunAsUser != 65534 || len(names) != 1 {
			t.Errorf("%s: mounts %+v, %+v", values, c.VolumeMounts, pod.SecurityContext)
		}
	}
	gateway := compose(t).Services["gateway"]
	mounted := false
	for _, v := range gateway.Volumes {
		mounted = mounted || v.Target == data && v.Type == "volume" && !v.ReadOnly
	}
	if !gateway.ReadOnly || !mounted || gateway.WorkingDir != "" || gateway.User != "" {
		t.Errorf("compose.yaml: %+v", gateway)
	}

	unit, err := os.ReadFile(root + "/deploy/systemd/sluice.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ProtectSystem=strict", "StateDirectory=sluice", "WorkingDirectory=/var/lib/sluice", "User=sluice"} {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("the unit has no %s", line)
		}
	}
	if strings.Contains(string(unit), "ReadOnlyPaths=") || strings.Contains(string(unit), "SHARD_STORE_DIRECTORY") || !strings.Contains(string(unit), " AF_UNIX") {
		t.Error("the unit's process cannot have a socket in its state directory")
	}
}
