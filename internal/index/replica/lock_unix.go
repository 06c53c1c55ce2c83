//go:build unix

package replica

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// createLocked makes an empty file that nobody else writes until it is closed.
func createLocked(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("another pull is writing %s", path)
			}
			return nil, err
		}
		// Whoever had the lock may have put the file in its place, or removed it, since it was opened.
		mine, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		if there, err := os.Stat(path); err != nil || !os.SameFile(mine, there) {
			_ = f.Close()
			continue
		}
		if err := f.Truncate(0); err != nil {
			_ = f.Close()
			return nil, err
		}
		return f, nil
	}
}
