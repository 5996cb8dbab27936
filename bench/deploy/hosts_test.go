package deploy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// A gateway with the variables of the chart answers to every name that cluster DNS has for its Services and its pod,
// and to no other.
func TestChartHosts(t *testing.T) {
	program := buildGateway(t)
	for values, domain := range map[string]string{
		required: "cluster.local",
		everything + "fullnameOverride: gateway\nclusterDomain: example.org\nsettings: {HTTP_HOSTS: 'ops.example.com, status.example.com'}\n": "example.org",
	} {
		o, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range o.services {
			names = append(names, s.Name)
		}
		names = append(names, o.stateful.Name+"-0."+o.stateful.Spec.ServiceName)
		var hosts []string
		for _, n := range names {
			hosts = append(hosts, n, n+".discord", n+".discord.svc", n+".discord.svc."+domain, n+".discord.svc."+domain+".")
		}
		hosts = append(hosts, "10.1.2.3") // of probes, and of who scrapes the addresses of pods
		if strings.Contains(values, "HTTP_HOSTS") {
			hosts = append(hosts, "ops.example.com", "status.example.com")
		}
		status := serve(t, program, o.stateful.Spec.Template.Spec.Containers[0].Env)
		for _, h := range hosts {
			if code := status(h + ":8080"); code != http.StatusOK {
				t.Errorf("%s: %d", h, code)
			}
		}
		for _, h := range []string{"rebound.example.com", "discord.svc", names[0] + ".other.svc", domain} {
			if code := status(h + ":8080"); code != http.StatusMisdirectedRequest {
				t.Errorf("%s: %d, want 421", h, code)
			}
		}
	}
}

// serve runs the gateway with those of the variables that say to whom it answers, and returns what asks it for its metrics
// by the name of a host. It reaches neither Discord nor a broker.
func serve(t *testing.T, program string, variables []core.EnvVar) (status func(host string) int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	environ := []string{"DISCORD_TOKEN=not.a.token", "DISCORD_API_PROTOCOL=http", "DISCORD_API_HOST=127.0.0.1:1", "REDIS_URL=127.0.0.1:1"}
	for _, v := range variables {
		switch v.Name {
		case "HTTP_ADDRESS":
			host, _, _ := net.SplitHostPort(v.Value)
			environ = append(environ, v.Name+"="+net.JoinHostPort(host, port))
		case "HTTP_HOSTS":
			environ = append(environ, v.Name+"="+v.Value)
		}
	}
	var out strings.Builder
	cmd := exec.Command(program)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = t.TempDir(), environ, &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("%s", &out)
		}
	})
	ask := func(host string) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/metrics", nil)
		if err != nil {
			return 0, err
		}
		r.Host = host
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, err
	}
	for {
		_, err := ask("localhost")
		if err == nil {
			break
		}
		select {
		case <-ended:
			t.Fatalf("the gateway has exited: %s", &out)
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return func(host string) int {
		code, err := ask(host)
		if err != nil {
			t.Error(fmt.Errorf("%s: %w", host, err))
		}
		return code
	}
}

// buildGateway builds the program.
func buildGateway(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "gateway")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/gateway")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
