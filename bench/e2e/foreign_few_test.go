//go:build !foreign

package e2e

const foreignAll = false // see foreign_all_test.go
