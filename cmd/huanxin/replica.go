package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	hubapi "github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

func replicaCommand(ctx context.Context, args []string) error {
	return sub(ctx, "replica", args, []command{
		{"info", "say of when and of which numbers a replica is", replicaInfo},
		{"pull", "bring the app's replica from the hub", replicaPull},
		{"remove", "take numbers out of those that it is made of", func(ctx context.Context, args []string) error {
			return replicaNumbers(ctx, args, "remove", (*hubapi.Client).RemoveReplica)
		}},
		{"upload", "say of which numbers it is to be made", func(ctx context.Context, args []string) error {
			return replicaNumbers(ctx, args, "upload", (*hubapi.Client).UploadReplica)
		}},
		{"verify", "prove that a replica is whole and signed by the hub", replicaVerify},
	})
}

func replicaNumbers(ctx context.Context, args []string, verb string, send func(*hubapi.Client, context.Context, string, io.Reader) (hubapi.Receipt, error)) error {
	f := flag.NewFlagSet("replica "+verb, flag.ContinueOnError)
	var hub hubClient
	hub.add(f)
	in := f.String("in", "", "CSV `FILE` with a column number; other columns stay here. - is standard input")
	if _, err := parse(f, args, 0, "replica "+verb+" --in FILE"); err != nil {
		return err
	}
	if *in == "" {
		return usageError("replica " + verb + say(": 哪个文件?请给出 --in FILE", ": which file? Give --in FILE"))
	}
	c, err := hub.open()
	if err != nil {
		return err
	}
	file := os.Stdin
	if *in != "-" {
		if file, err = os.Open(*in); err != nil {
			return err
		}
		defer file.Close()
	}
	column, err := openColumn(file)
	if err != nil {
		return fmt.Errorf("%s: %w", *in, withCause(err, *in, "number"))
	}
	got, err := send(c, ctx, "text/csv", column.body())
	if err == nil {
		err = column.err
	}
	if err != nil {
		return err
	}
	for _, bad := range column.bad {
		fmt.Fprintf(os.Stderr, say("第 %d 行: %s: %s\n", "line %d: %s: %s\n"), bad.Line, bad.Code, inChineseOr(bad.Code, bad.Detail))
	}
	for _, r := range got.Rejected {
		fmt.Fprintf(os.Stderr, say("第 %d 行: %s: %s\n", "line %d: %s: %s\n"), column.source(r.Line), r.Code, inChineseOr(r.Code, r.Detail))
	}
	refused := got.RejectedTotal + column.badTotal
	fmt.Printf(say("接受 %d 个,重复 %d 个,拒绝 %d 个(%s)\n", "%d accepted, %d repeated, %d refused (%s)\n"), got.Accepted, got.Duplicates, refused, got.Receipt)
	if refused > 0 {
		return errBadLines
	}
	return nil
}

// column is the numbers of a CSV file as a body of one column: nothing else of the file leaves the machine.
type column struct {
	csv      *lines.CSV
	sent     int64 // lines of the body
	moved    []move
	bad      []lines.BadLine // the first of those that are no row
	badTotal int64
	err      error // of the file
}

// move says that from a line of the body on, lines of the file are so many further down.
type move struct{ line, by int64 }

const maxBad = 10_000

func openColumn(r io.Reader) (*column, error) {
	csv, err := lines.NewCSV(r, 1<<20, lines.Header{Required: []string{"number"}, Extra: true})
	return &column{csv: csv, sent: 1}, err
}

// body gives the column. It is read by one goroutine; what it found stands in c when reading has ended.
func (c *column) body() io.Reader {
	r, w := io.Pipe()
	go func() {
		c.err = c.write(w)
		_ = w.CloseWithError(c.err)
	}()
	return r
}

func (c *column) write(w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	if _, err := out.WriteString("number\n"); err != nil {
		return err
	}
	for {
		line, row, err := c.csv.Next()
		if bad, ok := errors.AsType[*lines.BadLine](err); ok {
			if c.badTotal++; len(c.bad) < maxBad {
				c.bad = append(c.bad, *bad)
			}
			continue
		}
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		c.sent++
		if by := line - c.sent; len(c.moved) == 0 && by != 0 || len(c.moved) > 0 && c.moved[len(c.moved)-1].by != by {
			c.moved = append(c.moved, move{c.sent, by})
		}
		if _, err := out.Write(append(cell(row[0]), '\n')); err != nil {
			return err
		}
	}
}

// cell gives a cell that is one line of the body, whatever is in it. What is no number is refused by the hub, by its line.
func cell(text []byte) []byte {
	if len(text) == 0 || len(text) > 64 || slices.ContainsFunc(text, func(b byte) bool { return b != '+' && (b < '0' || b > '9') }) {
		return []byte("-")
	}
	return slices.Clone(text)
}

// source gives the line of the file that a line of the body came from.
func (c *column) source(line int64) int64 {
	i := sort.Search(len(c.moved), func(i int) bool { return c.moved[i].line > line })
	if i == 0 {
		return line
	}
	return line + c.moved[i-1].by
}

func replicaPull(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("replica pull", flag.ContinueOnError)
	var hub hubClient
	hub.add(f)
	out := f.String("out", "", "`FILE` for the replica; FILE.manifest and FILE.jwks come beside it")
	if _, err := parse(f, args, 0, "replica pull --out FILE"); err != nil {
		return err
	}
	if *out == "" {
		return usageError(say("replica pull: 存到哪里?请给出 --out FILE", "replica pull: where to? Give --out FILE"))
	}
	c, err := hub.open()
	if err != nil {
		return err
	}
	line, began, shown := newStatusLine(os.Stderr), time.Now(), time.Time{}
	m, err := replica.Pull(ctx, c, *out, replica.Wanted{Issuer: hub.url, Audience: hub.id, Progress: func(bytes int64) {
		if now := time.Now(); line.terminal && now.Sub(shown) > 250*time.Millisecond {
			shown = now
			line.show(fmt.Sprintf("%.1f MB  %.1f MB/s", float64(bytes)/1e6, float64(bytes)/1e6/max(now.Sub(began).Seconds(), 0.001)))
		}
	}})
	line.clear()
	if err != nil {
		return err
	}
	fmt.Printf(say("%s: %d 个号码,号码日志位置 %d(%s,签发于 %s)\n", "%s: %d numbers as of %d (%s, issued %s)\n"), *out, m.Numbers, m.AsOf, m.Scope, time.Unix(m.IssuedAt, 0).Format(time.RFC3339))
	return nil
}

const verifyForm = `replica verify FILE [--hub URL]

Proves that a replica is whole: signature, digest, every page. With --hub the signature is proved by the keys that the hub publishes now;
without it by those in FILE.jwks, which were saved when it was pulled, so that this shows damage, but not that all three files are another's.`

func replicaVerify(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("replica verify", flag.ContinueOnError)
	hub := f.String("hub", "", "`URL` of the hub, whose keys are fetched")
	words, err := parse(f, args, 1, verifyForm)
	if err != nil {
		return err
	}
	path, url := words[0], strings.TrimSuffix(*hub, "/")
	if url == "" {
		return withReplica(path, replica.Open, func(r *replica.Replica) error {
			if err := r.Verify(ctx); err != nil {
				return err
			}
			fmt.Printf(say("%s: 完整,签名者 %s(公钥取自 %s.jwks,即拉取时所存;用 --hub URL 取枢纽现在的公钥)\n",
				"%s: whole, and signed by %s (by the keys in %s.jwks, which were saved when it was pulled; --hub URL takes the hub's own)\n"), path, r.Manifest().Issuer, path)
			return nil
		})
	}
	keys, err := hubapi.New(hubapi.Options{URL: url}).KeySet(ctx)
	if err != nil {
		return err
	}
	open := func(path string) (*replica.Replica, error) { return replica.OpenTrusting(path, keys, url) }
	return withReplica(path, open, func(r *replica.Replica) error {
		if err := r.Verify(ctx); err != nil {
			return err
		}
		fmt.Printf(say("%s: 完整,签名者 %s(公钥刚从枢纽取得)\n", "%s: whole, and signed by %s (by the keys that the hub publishes now)\n"), path, url)
		return nil
	})
}

func replicaInfo(_ context.Context, args []string) error {
	words, err := parse(flag.NewFlagSet("replica info", flag.ContinueOnError), args, 1, "replica info FILE")
	if err != nil {
		return err
	}
	return withReplica(words[0], replica.Open, func(r *replica.Replica) error {
		m := r.Manifest()
		fmt.Printf("hub      %s\nclient   %s\nissued   %s (%s ago)\nas of    %d\nscope    %s\nnumbers  %d\nzone     %s\nsize     %d\nsha256   %s\n",
			m.Issuer, m.Audience, r.IssuedAt().In(r.Zone()).Format(time.RFC3339), time.Since(r.IssuedAt()).Round(time.Second), m.AsOf, m.Scope, m.Numbers,
			m.Zone, m.Size, m.SHA256)
		for _, carrier := range slices.Sorted(maps.Keys(m.Fresh)) {
			fmt.Printf("fresh    %s until %s\n", carrier, m.Fresh[carrier].In(r.Zone()).Format(time.RFC3339))
		}
		return nil
	})
}

func withReplica(path string, open func(string) (*replica.Replica, error), f func(r *replica.Replica) error) error {
	r, err := open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(f(r), r.Close())
}
