package measure

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forget drops a file from the page cache.
func forget(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) == nil
}

// cpu gives the time of all cores that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// hugeFlat gives n values on huge pages.
func hugeFlat(n int64) []uint16 {
	const huge = 1 << 20 // values in a huge page
	all := make([]uint16, n+2*huge)
	skip := (-uintptr(unsafe.Pointer(&all[0])) & (2*huge - 1)) / 2
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(&all[skip])), (n+huge)/huge*2*huge), unix.MADV_HUGEPAGE)
	return all[skip:][:n]
}
