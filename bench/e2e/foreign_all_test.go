//go:build foreign

package e2e

// foreignAll has the clients run through every fault, and with this tag those in Python,
// Rust and Java run as well. It is for make test-foreign: they fetch and build a few
// hundred packages, which is not what somebody waits for who wants to run the tests.
const foreignAll = true
