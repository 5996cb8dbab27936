//go:build !linux

// This file is for the systems that cannot end a test's servers with the test.

package redistest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
