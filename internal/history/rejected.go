package history

import (
	"encoding/csv"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/resume"
)

// rejectedFile takes the refused lines: where they stand and why, never what they say.
type rejectedFile struct {
	f     *os.File // nil: nobody wants them
	size  int64
	begun bool // what was listed before is not in it
}

// rejectedHeader is how a file of ours begins. An event's id, where the hub's refusal names one, is what a correction needs.
const rejectedHeader = "line,code,detail,id\n"

// openRejected opens the file at the length that it had when the progress was last written: what is behind that was
// not acknowledged and comes again. A file that is none of ours is refused, and left as it is.
func openRejected(path string, size int64) (*rejectedFile, error) {
	if path == "" {
		return &rejectedFile{size: size}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	r := &rejectedFile{f: f, size: size}
	if err = ours(f); err == nil {
		err = r.cut()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// ours refuses a file that does not begin as ours do. An empty one may become one, and so may one whose header broke off.
func ours(f *os.File) error {
	begins := make([]byte, len(rejectedHeader))
	n, err := io.ReadFull(f, begins)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if !strings.HasPrefix(rejectedHeader, string(begins[:n])) {
		return &resume.UseError{Problem: resume.NotOurs, Path: f.Name(),
			Text: f.Name() + " is no list of refused lines: it is not replaced; remove it, or name another"}
	}
	return nil
}

// listedIn reports whether a list of ours is there with all that it had.
func listedIn(path string, size int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && size > 0 && info.Size() >= size && ours(f) == nil
}

// cut takes away what comes again, and begins the file where nothing is left.
func (r *rejectedFile) cut() error {
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < r.size { // it was not asked for before, or is gone
		r.size = 0
	}
	r.begun = r.size == 0
	if err := r.f.Truncate(r.size); err != nil || r.size > 0 {
		return err
	}
	return r.write([][]string{strings.Split(strings.TrimSpace(rejectedHeader), ",")})
}

// add appends refused lines of a piece whose first line is a physical line of the input, and gives the file's length. On
// return they are on stable storage.
func (r *rejectedFile) add(all []client.Rejection, first int64) (int64, error) {
	if r.f == nil || len(all) == 0 {
		return r.size, nil
	}
	rows := make([][]string, len(all))
	for i, v := range all {
		rows[i] = []string{strconv.FormatInt(first+v.Line-headerLines-1, 10), v.Code, v.Detail, v.ID}
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
