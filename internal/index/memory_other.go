//go:build !linux

package index

// Elsewhere pages lie on the Go heap: huge pages are what mappings are for.
func mapAnonymous(int) []byte { return nil }

func adviseHuge([]byte) {}

func unmap([]byte) error { return nil }
