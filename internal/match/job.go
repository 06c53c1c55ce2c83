package match

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/huanxin-platform/huanxin/internal/resume"
)

// Job is a run on files. Outputs grow under temporary names, mode 0600 since they hold numbers, and get their own when they are
// complete. Where input and outputs are files, a progress file beside Out says up to where the outputs are on stable storage: the same
// job, started again after any end, goes on from there.
type Job struct {
	// In, Out and Unknown are paths; "-" for the first two is Stdin and Stdout. Without Unknown those rows are only counted.
	In, Out, Unknown string
	// Bad takes all bad lines as CSV: line, code, detail; empty: nobody wants them.
	Bad    string
	Stdin  io.Reader
	Stdout io.Writer
	// Settings say what else must be the same for a job to go on: what is asked, and how. They are kept in the progress file.
	Settings string
	// Restart forgets an earlier run.
	Restart bool
	// SafeEvery is how long at least lies between two safe points; negative: there is one behind every block. 0: 3 seconds.
	SafeEvery time.Duration
	// Resumed, unless nil, is told at which byte the job goes on.
	Resumed func(offset int64)
	// Options are those of the run; In, Changed, Unknown, Bad, Resume and Block are the job's.
	Options Options
}

const (
	partial  = ".partial"  // behind the name of an output that is not complete
	progress = ".progress" // behind the name of Out
)

// job is a Job under way.
type job struct {
	*Job
	in        io.Reader
	input     *os.File // nil: Stdin
	progress  resume.File[safePoint]
	resumable bool
	out, rest output
	bad       output
	saved     time.Time
}

// safePoint is what a progress file says.
type safePoint struct {
	Out      int64 `json:"out"` // lengths that are on stable storage
	Unknown  int64 `json:"unknown"`
	Bad      int64 `json:"bad"`
	Complete bool  `json:"complete"` // only the outputs' names are missing
	State    State `json:"state"`
}

// Run does the job, or the rest of it, and gives the state it reached, with an error too.
func (j *Job) Run(ctx context.Context) (State, error) {
	r := &job{Job: j, saved: time.Now()}
	defer r.close()
	if err := r.open(); err != nil {
		return State{}, err
	}
	from, err := r.resume()
	if err != nil || from != nil && from.Complete {
		if err == nil {
			return from.State, r.publish()
		}
		return State{}, err
	}
	o := j.Options
	o.In, o.Changed, o.Unknown, o.Block = r.in, &r.out, &r.rest, r.block
	if r.Bad != "" {
		o.Bad = &r.bad
	}
	if from != nil {
		o.Resume = &from.State
		if j.Resumed != nil {
			j.Resumed(from.State.Offset)
		}
	}
	s, err := Run(ctx, o)
	if err != nil {
		r.interrupted(s)
		return s, err
	}
	return s, r.finish(s)
}

// open opens the input and checks that no file is two things at once.
func (r *job) open() error {
	if r.In == "-" {
		r.in = r.Stdin
		return r.distinct()
	}
	f, err := os.Open(r.In)
	if err != nil {
		return err
	}
	r.in, r.input = f, f
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r.resumable = info.Mode().IsRegular() && r.Out != "-"
	if !info.Mode().IsRegular() {
		r.input = nil
		return r.distinct()
	}
	print, err := resume.InputOf(f)
	if err != nil {
		return err
	}
	r.progress = resume.File[safePoint]{Path: r.Out + progress, Settings: r.settings(), InputPath: r.In, Input: print,
		Other: "is of a run with other arguments; give the same ones to go on with it"}
	return r.distinct()
}

// distinct refuses to write over the input, two things into one file, or over what is no file.
func (r *job) distinct() error {
	in, out := resume.Role{As: "input", Path: r.In}, resume.Role{As: "output of rows that changed", Path: r.Out}
	if r.In == "-" {
		in.Path = ""
		in.File, _ = r.Stdin.(*os.File)
	}
	if r.Out == "-" {
		out.Path = ""
		out.File, _ = r.Stdout.(*os.File)
	}
	roles := []resume.Role{in, out, {As: "output of unknown rows", Path: r.Unknown}, {As: "output of bad lines", Path: r.Bad}}
	for _, o := range roles[1:] {
		if o.Path != "" {
			if err := resume.Replaceable(o.Path); err != nil {
				return err
			}
			roles = append(roles, resume.Role{As: "a temporary file", Path: o.Path + partial})
		}
	}
	if r.resumable {
		roles = append(roles, resume.Role{As: "progress file", Path: r.Out + progress},
			resume.Role{As: "the next progress file", Path: r.Out + progress + resume.NextEnding})
	}
	return resume.Distinct(roles...)
}

// resume opens the outputs, and finds out whether there is a run to go on with.
func (r *job) resume() (from *safePoint, err error) {
	if r.resumable && r.Restart {
		if err := r.progress.Replaceable(); err != nil {
			return nil, err
		}
	} else if r.resumable {
		if last, found, err := r.progress.Load(); err != nil {
			return nil, err
		} else if found {
			from = &last
		}
	}
	if from != nil && from.Complete {
		return from, nil
	}
	lengths := safePoint{}
	if from != nil {
		lengths = *from
		if _, err := r.input.Seek(from.State.Offset, io.SeekStart); err != nil {
			return nil, err
		}
	}
	if err := r.out.open(r.Out, r.Stdout, lengths.Out); err != nil {
		return nil, err
	}
	if err := r.rest.open(r.Unknown, nil, lengths.Unknown); err != nil {
		return nil, err
	}
	if err := r.bad.open(r.Bad, nil, lengths.Bad); err != nil {
		return nil, err
	}
	if from == nil && r.resumable { // what it says of the outputs is not true any more
		if err := os.Remove(r.Out + progress); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return from, nil
}

// block makes a safe point behind a block when it is time for one.
func (r *job) block(s State) error {
	every := cmp.Or(r.SafeEvery, 3*time.Second)
	if !r.resumable || time.Since(r.saved) < every {
		return nil
	}
	err := r.save(s, false)
	r.saved = time.Now()
	return err
}

// save makes a safe point: the outputs are on stable storage before the progress file says so.
func (r *job) save(s State, complete bool) error {
	if err := r.sync(); err != nil {
		return err
	}
	return r.progress.Store(safePoint{Out: r.out.n, Unknown: r.rest.n, Bad: r.bad.n, State: s, Complete: complete})
}

func (r *job) sync() error {
	for _, o := range r.outputs() {
		if err := o.sync(); err != nil {
			return err
		}
	}
	return nil
}

func (r *job) outputs() []*output { return []*output{&r.out, &r.rest, &r.bad} }

// interrupted keeps what was done, or cleans up where nothing can go on with it.
func (r *job) interrupted(s State) {
	if r.resumable && s.Summary.Rows > 0 {
		_ = r.save(s, false) // an older safe point does, too
		return
	}
	for _, o := range r.outputs() {
		o.remove()
	}
	_ = r.out.flush() // what goes to standard output is true as far as it goes
}

// finish gives complete outputs their names.
func (r *job) finish(s State) error {
	if r.input != nil {
		if now, err := resume.InputOf(r.input); err != nil || now != r.progress.Input {
			return errors.Join(fmt.Errorf("%s changed while it was read; --restart begins anew", r.In), err)
		}
	}
	if !r.resumable {
		if err := r.sync(); err != nil {
			return err
		}
		return r.publish()
	}
	if err := r.save(s, true); err != nil {
		return err
	}
	return r.publish()
}

// publish gives the outputs their names. Those that have them already, from before a crash, are left alone.
func (r *job) publish() error {
	for _, path := range []string{r.Bad, r.Unknown, r.Out} {
		if path == "" || path == "-" {
			continue
		}
		if err := os.Rename(path+partial, path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := resume.SyncDirectory(path); err != nil {
			return err
		}
	}
	if !r.resumable {
		return nil
	}
	if err := os.Remove(r.Out + progress); err != nil {
		return err
	}
	return resume.SyncDirectory(r.Out)
}

func (r *job) close() {
	for _, o := range r.outputs() {
		o.close()
	}
	if f, ok := r.in.(*os.File); ok && r.In != "-" {
		_ = f.Close()
	}
}

// output is a file that grows under a temporary name, or standard output, or nothing.
type output struct {
	path string // of the temporary name
	file *os.File
	w    *bufio.Writer // nil: nothing
	n    int64         // what was written, length of the file when it is flushed
}

// open opens an output, cut to a length.
func (o *output) open(path string, stdout io.Writer, length int64) error {
	switch path {
	case "":
		return nil
	case "-":
		o.w = bufio.NewWriterSize(stdout, 1<<20)
		return nil
	}
	f, err := os.OpenFile(path+partial, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	o.path, o.file, o.w, o.n = path+partial, f, bufio.NewWriterSize(f, 1<<20), length
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s: another run is writing it", o.path)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() < length:
		return fmt.Errorf("%s is shorter than its progress file says; --restart begins anew", o.path)
	}
	return errors.Join(f.Chmod(0o600), f.Truncate(length), seek(f, length))
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, io.SeekStart)
	return err
}

// Write appends to the output.
func (o *output) Write(p []byte) (int, error) {
	if o.w == nil {
		return len(p), nil
	}
	o.n += int64(len(p))
	return o.w.Write(p)
}

func (o *output) flush() error {
	if o.w == nil {
		return nil
	}
	return o.w.Flush()
}

// sync puts what was written on stable storage.
func (o *output) sync() error {
	if err := o.flush(); err != nil || o.file == nil {
		return err
	}
	return o.file.Sync()
}

func (o *output) remove() {
	if o.file != nil {
		_ = os.Remove(o.path)
	}
}

func (o *output) close() {
	if o.file != nil {
		_ = o.file.Close()
	}
}

// settings are everything that must be the same for a job to go on.
func (r *job) settings() string {
	zone := "UTC"
	if r.Options.Zone != nil {
		zone = r.Options.Zone.String()
	}
	in, _ := filepath.Abs(r.In)
	others := []string{r.Unknown, r.Bad}
	for i, path := range others {
		if path != "" {
			others[i], _ = filepath.Abs(path)
		}
	}
	return strings.Join([]string{in, others[0], others[1], zone, fmt.Sprint(r.Options.China), r.Settings}, "\n")
}
