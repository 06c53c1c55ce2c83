//go:build race

package metering

// slower divides the sizes of tests that the race detector makes ten times slower.
const slower = 20
