package index

import "os"

// source is a snapshot of which something is not verified yet.
type source struct {
	file *os.File
}

func (s *source) need(*Index, uint64) {}

func (s *source) needTable(*Index) {}
