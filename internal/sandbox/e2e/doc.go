// Package e2e has people use the demo's pages in a real browser. It holds tests alone.
package e2e
