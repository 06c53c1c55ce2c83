package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/huanxin-platform/huanxin/client"
)

const (
	// streamNumbers is how many numbers the hub knows when streams ask.
	streamNumbers = 300_000
	// streamLines is how many lines one stream sends; they are repeats of streamBlock different ones, in random order.
	streamLines = 8_000_000
	streamBlock = 100_000
)

// streams measures checks streamed over one connection, in both forms.
func (w *world) streams(ctx context.Context, o options, out io.Writer) error {
	numbers, lines := streamNumbers, streamLines
	if o.short {
		numbers, lines = 2_000, 2*streamBlock
	}
	if err := w.tellLives(ctx, numbers); err != nil {
		return err
	}
	token, err := w.apps[0].Token(ctx)
	if err != nil {
		return err
	}
	for _, form := range []struct {
		name, mime, head, line string
	}{
		{"as NDJSON", "application/x-ndjson", "", `{"number":"+%d","since":"%d-0%d-1%d"}` + "\n"},
		{"as CSV", "text/csv", "account,number,since\n", "a%[1]d,+%[1]d,%[2]d-0%[3]d-1%[4]d\n"},
	} {
		var block bytes.Buffer
		r := rand.New(rand.NewPCG(1, 2))
		for range streamBlock {
			fmt.Fprintf(&block, form.line, streamFirst+r.IntN(numbers), 2015+r.IntN(10), 1+r.IntN(9), r.IntN(10))
		}
		round := func(ctx context.Context, _ options) ([]phase, error) {
			p, err := w.timed(form.name, lines, func() error { return w.stream(ctx, token, form.mime, form.head, block.Bytes(), lines/streamBlock) })
			return []phase{p}, err
		}
		if err := w.rounds(ctx, o, out, fmt.Sprintf("streamed checks over one connection, %d numbers known", numbers), round); err != nil {
			return err
		}
	}
	return nil
}

// streamFirst is the first of the numbers that streams ask about.
const streamFirst = 86_159_0000_0000

// tellLives reports tenures of numbers, and waits until checks know them all.
func (w *world) tellLives(ctx context.Context, numbers int) error {
	events := make([]client.Event, 0, numbers)
	for i := range numbers {
		events = append(events, client.Event{ID: fmt.Sprint("life-", i), Number: fmt.Sprint("+", streamFirst+i), Kind: "activated", Origin: "reassigned",
			At: time.Date(2015+i%10, time.Month(1+i%12), 1+i%28, 8, 0, 0, 0, time.UTC)})
	}
	for len(events) > 0 {
		n := min(len(events), 100_000)
		r, err := w.carriers[0].ReportEvents(ctx, events[:n], time.Time{})
		if err != nil {
			return err
		}
		if r.RejectedTotal > 0 {
			return fmt.Errorf("%d events refused: %+v", r.RejectedTotal, r.Rejected[0])
		}
		events = events[n:]
	}
	for w.hub.IndexLen() < int64(numbers) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// stream sends a block some times over, and reads and counts the answers meanwhile.
func (w *world) stream(ctx context.Context, token, mime, head string, block []byte, times int) error {
	body := &repeated{head: []byte(head), block: block, left: times}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/checks", body)
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(head) + times*len(block))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", mime)
	resp, err := w.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, bad, buf := 0, 0, make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(buf)
		got += bytes.Count(buf[:n], []byte{'\n'})
		bad += bytes.Count(buf[:n], []byte("_exceeded"))
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	want := times * bytes.Count(block, []byte{'\n'})
	if head != "" {
		want++
	}
	if got != want || bad > 0 {
		return errors.New("not every line was answered")
	}
	return nil
}

// repeated reads a block some times over.
type repeated struct {
	head, block []byte
	at, left    int
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.block[r.at:])
	if r.at += n; r.at == len(r.block) {
		r.at = 0
		r.left--
	}
	return n, nil
}
