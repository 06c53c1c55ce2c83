//go:build !race

package metering

const slower = 1
