// Package history loads a file of present tenures into a hub: CSV of any size with the columns number, tenure_started_at and
// origin, in pieces that the hub acknowledges. What was acknowledged is written down beside the input, so that an import that
// broke off goes on behind it; a piece whose acknowledgement was lost is sent again, which changes nothing.
//
// Nothing that this package writes or says holds a number: lines are named by where they stand.
package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/resume"
)

// Options say what is loaded and how. Client and either In or Stdin are needed.
type Options struct {
	Client *client.Client
	// Target names the hub and the client: progress made at one is none at another.
	Target string
	// In is the input file. Stdin, if not nil, is read in its place; then there is no progress file.
	In    string
	Stdin io.Reader
	// Progress is the progress file; empty: In with ".progress" behind it. Restart begins anew whatever it says.
	Progress string
	Restart  bool
	// Rejected is a file that takes the refused lines as CSV: line, code, detail, id; empty: none. One that is there must be
	// such a list, and is replaced or gone on with.
	Rejected string
	// Told is stated at the end, unless a line was refused for another reason than its number's kind.
	Told client.HistoryTold

	// PieceLines and PieceBytes bound a piece. 0: 16,384 lines, 4 MiB.
	PieceLines, PieceBytes int
	// Pause is how long is waited before the first repetition; it doubles up to a minute. 0: a quarter of a second.
	Pause time.Duration
	// GiveUp is how long it is tried without any acknowledgement, and the longest Retry-After that is waited for. 0: 15 minutes.
	GiveUp time.Duration
	// Tell, unless nil, is told of every acknowledged piece, and first of where the import begins.
	Tell func(At)
	// Waiting, unless nil, is told of each failure that may pass, and how long is waited before it is tried again.
	Waiting func(err error, pause time.Duration)
}

// Totals is what became of the lines. A line that was sent twice, because its acknowledgement was lost, counts as a duplicate.
type Totals struct {
	Accepted   int64 `json:"accepted"`
	Duplicates int64 `json:"duplicates"`
	Rejected   int64 `json:"rejected"`
	// Codes says how many were refused with which code.
	Codes map[string]int64 `json:"codes,omitempty"`
}

// Lines is how many lines that is.
func (t *Totals) Lines() int64 { return t.Accepted + t.Duplicates + t.Rejected }

// Untold is how many lines were refused that the carrier may yet tell right.
func (t *Totals) Untold() int64 { return t.Rejected - t.Codes["number_kind_unsupported"] }

// At is how far an import is.
type At struct {
	Totals
	Offset, Size int64 // bytes; Size -1: nobody knows
}

// Result is what an import came to.
type Result struct {
	Totals
	// Resumed says that an earlier run had made progress, and Done that it had loaded all of it.
	Resumed, Done bool
	// Listed is how many of the refused lines stand in Options.Rejected: fewer where that was not asked for from the beginning.
	Listed int64
	// Stated is what the hub takes the carrier's coverage for; nil: nothing was to be stated, or refused lines forbid it.
	Stated *client.HistoryReceipt
}

// An importer is one run.
type importer struct {
	Options
	in       *input
	progress *resume.File[state] // nil: not resumable
	rejected *rejectedFile
	at       state
	encoder  *zstd.Encoder
	buffer   []byte
}

// Import loads the input. When it returns nil all lines were acknowledged, and refused ones are in the result. With an error
// the result says how far it got, and the same call goes on from there if there is a progress file.
func Import(ctx context.Context, o Options) (res Result, err error) {
	im := &importer{Options: o}
	if im.PieceLines <= 0 {
		im.PieceLines = 4 * 4096 // some of the hub's transactions: little is sent twice, and what a call costs is small beside it
	}
	if im.PieceBytes <= 0 {
		im.PieceBytes = 4 << 20
	}
	if err := im.open(); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, im.close()) }()
	res.Resumed, res.Done = im.at.Offset > 0, im.at.Done
	if !im.at.Done {
		err = im.load(ctx)
	}
	res.Totals, res.Listed = im.at.Totals, im.at.Listed
	if err != nil {
		return res, err
	}
	if im.Told != (client.HistoryTold{}) && im.at.Untold() == 0 {
		got, err := im.send(ctx, nil)
		if err != nil {
			return res, fmt.Errorf("all lines were loaded, but what is covered could not be stated: %w", err)
		}
		res.Stated = &got
	}
	return res, nil
}

func (im *importer) open() (err error) {
	if err := im.distinct(); err != nil {
		return err
	}
	if im.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)); err != nil {
		return err
	}
	if im.Stdin != nil {
		im.in = newInput(im.Stdin)
	} else if err := im.openFile(); err != nil {
		return err
	}
	if im.rejected, err = im.openRejected(); err != nil {
		return errors.Join(err, im.in.close())
	}
	return nil
}

// openRejected opens the list of refused lines and finds out how many are in it. After an import that is done nothing is added, so nothing
// is opened.
func (im *importer) openRejected() (*rejectedFile, error) {
	if im.at.Done {
		if !listedIn(im.Rejected, im.at.RejectedBytes) {
			im.at.Listed = 0
		}
		return openRejected("", im.at.RejectedBytes)
	}
	r, err := openRejected(im.Rejected, im.at.RejectedBytes)
	if err == nil && (r.f == nil || r.begun) {
		im.at.Listed = 0
	}
	return r, err
}

// distinct refuses a file that is to be two things at once: what is written would destroy what is read.
func (im *importer) distinct() error {
	in := resume.Role{As: "input", Path: im.In}
	if im.Stdin != nil {
		in.Path = ""
		in.File, _ = im.Stdin.(*os.File)
	}
	progress := im.progressPath()
	roles := []resume.Role{in, {As: "the list of refused lines", Path: im.Rejected}, {As: "progress file", Path: progress}}
	if progress != "" {
		roles = append(roles, resume.Role{As: "the next progress file", Path: progress + resume.NextEnding})
	}
	return resume.Distinct(roles...)
}

// progressPath gives where the progress file is; empty: there is none.
func (im *importer) progressPath() string {
	switch {
	case im.Stdin != nil:
		return ""
	case im.Progress == "":
		return im.In + ".progress"
	}
	return im.Progress
}

// openFile opens the input and what is known of progress in it.
func (im *importer) openFile() error {
	f, err := os.Open(im.In)
	if err != nil {
		return err
	}
	im.in = newInput(f)
	im.in.file = f
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		im.in.size = info.Size()
		err = im.findProgress(im.progressPath(), f)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// findProgress reads how far an earlier run came, unless this one begins anew.
func (im *importer) findProgress(path string, f *os.File) error {
	print, err := resume.InputOf(f)
	if err != nil {
		return err
	}
	im.progress = &resume.File[state]{Path: path, Settings: im.Target, Other: "is of an import into another hub or as another client",
		InputPath: im.In, Input: print}
	if im.Restart {
		return im.progress.Replaceable()
	}
	at, found, err := im.progress.Load()
	if err != nil || !found {
		return err
	}
	if at.Offset < 0 || at.Offset > print.Size || at.RejectedBytes < 0 {
		return im.progress.Refuse()
	}
	im.at = at
	return nil
}

// save writes down how far the import is, where that can be gone on with.
func (im *importer) save() error {
	if im.progress == nil {
		return nil
	}
	return im.progress.Store(im.at)
}

// state is how far an import is: everything before Offset was acknowledged.
type state struct {
	Totals
	Offset int64 `json:"offset"`
	Line   int64 `json:"line"` // how many physical lines that is
	// RejectedBytes is how long the file of refused lines was then.
	RejectedBytes int64 `json:"rejected_bytes"`
	Listed        int64 `json:"listed"` // how many lines are in it
	Done          bool  `json:"done"`
}

func (im *importer) close() error {
	return errors.Join(im.in.close(), im.rejected.close(), im.encoder.Close())
}

// load sends the input from where the progress says it stands.
func (im *importer) load(ctx context.Context) error {
	if err := im.in.readHeader(); err != nil {
		return err
	}
	if err := im.in.skipTo(im.at.Offset, im.at.Line); err != nil {
		return err
	}
	im.tell()
	for {
		p, err := im.in.piece(im.PieceLines, im.PieceBytes)
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF && im.at.Offset == 0 { // only a header, of which the hub says whether it is one
			p.lines, p.last, p.end = 1, im.in.line, im.in.offset
			err = im.take(ctx, p)
			if err != nil {
				return err
			}
			err = io.EOF
		}
		if err == io.EOF {
			im.at.Done = true
			return im.save()
		}
		if err := im.take(ctx, p); err != nil {
			return err
		}
	}
}

// take sends a piece and writes down what became of it.
func (im *importer) take(ctx context.Context, p piece) error {
	if p.lines > 0 {
		got, err := im.send(ctx, p.text)
		if err != nil {
			return err
		}
		all, err := im.allRejected(ctx, p, got.Receipt)
		if err != nil {
			return err
		}
		im.at.Accepted += got.Accepted
		im.at.Duplicates += got.Duplicates
		im.at.Rejected += got.RejectedTotal
		for _, r := range all {
			if im.at.Codes == nil {
				im.at.Codes = map[string]int64{}
			}
			im.at.Codes[r.Code]++
		}
		if im.at.RejectedBytes, err = im.rejected.add(all, p.first); err != nil {
			return err
		}
		if im.rejected.f != nil {
			im.at.Listed += int64(len(all))
		}
	}
	im.at.Offset, im.at.Line = p.end, p.last
	if err := im.save(); err != nil {
		return err
	}
	im.tell()
	return nil
}

// allRejected gives all refused lines of a piece. A receipt lists no more than some thousands; the lines behind the last listed
// one are then sent again, which changes nothing.
func (im *importer) allRejected(ctx context.Context, p piece, got client.Receipt) ([]client.Rejection, error) {
	all := got.Rejected
	for skipped := int64(0); got.RejectedTotal > int64(len(got.Rejected)) && len(got.Rejected) > 0; {
		done := got.Rejected[len(got.Rejected)-1].Line - headerLines
		p.text = behindLine(p.text, done)
		skipped += done
		again, err := im.send(ctx, p.text)
		if err != nil {
			return nil, err
		}
		got = again.Receipt
		for _, r := range got.Rejected {
			r.Line += skipped
			all = append(all, r)
		}
	}
	return all, nil
}

func (im *importer) tell() {
	if im.Tell != nil {
		im.Tell(At{im.at.Totals, im.at.Offset, im.in.size})
	}
}
