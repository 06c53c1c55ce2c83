//go:build !unix

package replica

import "os"

// createLocked makes an empty file. Here nothing keeps two pulls to one path apart.
func createLocked(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}
