//go:build linux

// This file opens the page of `gateway demo`, and makes the pictures of it.

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"sluice/sinks/sinktest"
)

// The demo's page shows its shards, is as wide as the screen and asks nobody else. With PAGE_SHOTS=directory
// there are more shards, and pictures of what is seen without scrolling: of a gateway that is ready while one
// shard is behind, after more than a minute. demo-1000-light.png is docs/page.png.
func TestPageDemo(t *testing.T) {
	t.Parallel()
	sizes := []int{4}
	dir := os.Getenv("PAGE_SHOTS")
	if dir != "" {
		sizes = []int{4, 1000, 10000}
	}
	b := browser(t)
	for _, shards := range sizes {
		address := sinktest.FreeAddress(t)
		demo := exec.Command(buildGateway(t), "demo", "-shards", fmt.Sprint(shards), "-address", address)
		var log lockedBuffer
		demo.Stderr = &log
		demo.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := demo.Start(); err != nil {
			t.Fatal(err)
		}
		end := func() { demo.Process.Signal(os.Interrupt); demo.Wait() }
		t.Cleanup(end)
		waitFor(t, "the address in the log", func() bool { return strings.Contains(log.String(), "http://"+address) })
		for _, l := range []struct {
			name string
			look look
		}{
			{"light", look{width: 1280, height: 800, features: map[string]string{"prefers-color-scheme": "light"}}},
			{"dark", look{width: 1280, height: 800, features: map[string]string{"prefers-color-scheme": "dark"}}},
			{"phone", look{width: 390, height: 844, features: map[string]string{"prefers-color-scheme": "light"}}},
		} {
			p := openTab(t, b, "http://"+address+"/", l.look)
			p.says("#link", "live")
			// Some are cut at any time: nine of ten have to be ready.
			p.until(fmt.Sprintf(`Number((document.querySelector("#legend")?.innerText.replaceAll(",", "").match(/(\d+)\s+ready/) ?? [0, 0])[1]) >= %d`, shards*9/10))
			if width := value[int64](p, "document.documentElement.scrollWidth"); width > l.look.width {
				t.Errorf("%d shards, %s: the page is %d pixels wide on a screen of %d", shards, l.name, width, l.look.width)
			}
			if other := value[string](p, `performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith(location.origin)).join(" ")`); other != "" {
				t.Errorf("the page asks %s", other)
			}
			p.quiet()
			if dir != "" {
				p.until(`document.querySelector("#chart-rate path.p50").getAttribute("d").split("L").length > 15`) // samples, one each 5 s
				if shards > 4 {                                                                                    // of few one is seldom behind
					p.until(`document.querySelector("#a-ready .big").innerText == "Ready" && /Behind: 1\n/.test(document.getElementById("story").innerText)`)
				}
				png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("demo-%d-%s.png", shards, l.name)), png, 0o644)
				}
				if err != nil {
					t.Error(err)
				}
			}
		}
		end()
	}
}
