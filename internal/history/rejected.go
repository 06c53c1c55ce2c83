package history

import (
	"encoding/csv"
	"errors"
	"io"
	"os"
	"strconv"

	"github.com/huanxin-platform/huanxin/client"
)

// rejectedFile takes the refused lines: where they stand and why, never what they say.
type rejectedFile struct {
	f    *os.File // nil: nobody wants them
	size int64
}

// openRejected opens the file at the length that it had when the progress was last written: what is behind that was
// not acknowledged and comes again.
func openRejected(path string, size int64) (*rejectedFile, error) {
	if path == "" {
		return &rejectedFile{size: size}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	r := &rejectedFile{f, size}
	info, err := f.Stat()
	if err == nil && info.Size() < size { // it was not asked for before, or is gone
		r.size = 0
	}
	if err == nil {
		err = f.Truncate(r.size)
	}
	if err == nil && r.size == 0 {
		err = r.write([][]string{{"line", "code", "detail"}})
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// add appends refused lines of a piece whose first line is a physical line of the input, and gives the file's length. On
// return they are on stable storage.
func (r *rejectedFile) add(all []client.Rejection, first int64) (int64, error) {
	if r.f == nil || len(all) == 0 {
		return r.size, nil
	}
	rows := make([][]string, len(all))
	for i, v := range all {
		rows[i] = []string{strconv.FormatInt(first+v.Line-headerLines-1, 10), v.Code, v.Detail}
	}
	err := r.write(rows)
	return r.size, err
}

func (r *rejectedFile) write(rows [][]string) error {
	if _, err := r.f.Seek(r.size, io.SeekStart); err != nil {
		return err
	}
	if err := csv.NewWriter(r.f).WriteAll(rows); err != nil {
		return err
	}
	var err error
	if r.size, err = r.f.Seek(0, io.SeekCurrent); err != nil {
		return err
	}
	return r.f.Sync()
}

func (r *rejectedFile) close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}
