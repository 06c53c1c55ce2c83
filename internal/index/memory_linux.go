package index

import "golang.org/x/sys/unix"

// mapAnonymous gives zeroed memory, or nil where the system refuses (a limit on address space).
func mapAnonymous(size int) []byte {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil
	}
	return b
}

// adviseHuge asks for huge pages, for what was touched before, too. A kernel without them is only slower.
func adviseHuge(b []byte) {
	if len(b) == 0 {
		return
	}
	if unix.Madvise(b, unix.MADV_HUGEPAGE) == nil {
		_ = unix.Madvise(b, unix.MADV_COLLAPSE)
	}
}

func unmap(b []byte) error { return unix.Munmap(b) }
