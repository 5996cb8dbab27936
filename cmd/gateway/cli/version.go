// This file says which version this is.

package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set when a release is built: -ldflags "-X sluice/cmd/gateway/cli.version=v1.2.3".
var version = "dev"

// versionLine names the program with its version, the revision that it was
// built from, and what it runs on.
func versionLine() string {
	line := "gateway " + version
	if info, ok := debug.ReadBuildInfo(); ok {
		line += revision(info)
	}
	return fmt.Sprintf("%s, %s %s/%s", line, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// userAgent is what Discord wants clients to call themselves. Without it the
// proxy before Discord may refuse a request.
func userAgent() string {
	return "DiscordBot (https://github.com/sluice-gateway/sluice, " + version + ")"
}

// builtFrom returns the revision that the program was built from, in short; empty: it is not known.
func builtFrom() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return fmt.Sprintf("%.12s", s.Value)
		}
	}
	return ""
}

// revision returns the revision in parentheses, or nothing if it is not known.
func revision(info *debug.BuildInfo) string {
	var rev, at, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value
		case "vcs.time":
			at = " of " + s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = ", modified"
			}
		}
	}
	if rev == "" {
		return ""
	}
	return fmt.Sprintf(" (revision %.12s%s%s)", rev, at, modified)
}
