package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The hot path: one check by CAMARA with a token that the hub remembers, beside a bare net/http handler that decodes and encodes
// the same JSON with encoding/json and does nothing else. Both are asked the same over as many connections of loopback, in turns.

const (
	camaraNumbers = 100_000 // that are asked about
	camaraAsks    = 256     // questions that a connection asks over and over
)

// camara measures the hub beside the bare handler and prints both and their ratio.
func (w *world) camara(ctx context.Context, o options, out io.Writer) error {
	n, span := camaraNumbers, 3*time.Second
	if o.short {
		n, span = 1000, 50*time.Millisecond
	}
	first := w.number
	w.number += n
	if err := w.activate(ctx, first, n); err != nil {
		return err
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	if err := w.hub.Follow(ctx); err != nil {
		return err
	}
	bare, stop, err := bareCheck()
	if err != nil {
		return err
	}
	defer stop()
	addrs := [2]string{bare, strings.TrimPrefix(w.url, "http://")}
	fmt.Fprintf(out, "  checks by CAMARA, %d connections, %d numbers\n", parallel, n)
	for _, load := range []struct {
		name string
		ask  questioner
	}{{"a client that costs little", askPlainly}, {"net/http's client", w.askByClient}} {
		if err := w.camaraBeside(ctx, o, out, load.name, load.ask, addrs, first, n, span); err != nil {
			return err
		}
	}
	return nil
}

// camaraBeside repeats turns of one kind of load and prints what it saw.
func (w *world) camaraBeside(ctx context.Context, o options, out io.Writer, load string, ask questioner, addrs [2]string, first, n int, span time.Duration) error {
	var rates, cpus [2][]float64
	var ratios []float64
	for i := range o.repeat + 1 {
		p, err := w.camaraTurns(ctx, ask, addrs, first, n, span)
		if err != nil {
			return err
		}
		if i == 0 {
			continue // warms up
		}
		for k := range p {
			rates[k], cpus[k] = append(rates[k], p[k].rate()), append(cpus[k], p[k].cpu.process/float64(p[k].n)*1e6)
		}
		ratios = append(ratios, p[1].rate()/p[0].rate())
	}
	fmt.Fprintf(out, "   asked by %s\n", load)
	for k, name := range []string{"bare handler", "hub"} {
		fmt.Fprintf(out, "    %-22s best %8.0f/s   median %8.0f/s   CPU µs each: %5.1f server and load\n",
			name, slices.Max(rates[k]), median(rates[k]), median(cpus[k]))
	}
	fmt.Fprintf(out, "    hub to bare            requests/s: median %.2f of %.2f to %.2f; CPU: %.2f\n",
		median(ratios), slices.Min(ratios), slices.Max(ratios), median(cpus[0])/median(cpus[1]))
	return nil
}

// camaraTurns asks both in turns that are so short that what else the machine does hits them alike.
func (w *world) camaraTurns(ctx context.Context, ask questioner, addrs [2]string, first, n int, span time.Duration) (sum [2]phase, err error) {
	const turns = 12
	runtime.GC()
	for turn := range 2 * turns {
		k := (turn + turn/2) % 2 // the first of a pair takes turns, too
		p, err := w.camaraRound(ctx, ask, addrs[k], first, n, span/turns)
		if err != nil {
			return sum, err
		}
		sum[k].n += p.n
		sum[k].took += p.took
		sum[k].cpu.process += p.cpu.process
	}
	return sum, nil
}

// camaraRound asks for a while.
func (w *world) camaraRound(ctx context.Context, ask questioner, addr string, first, n int, span time.Duration) (phase, error) {
	token, err := w.apps[0].Token(ctx)
	if err != nil {
		return phase{}, err
	}
	counts := make([]int, parallel)
	end := time.Now().Add(span)
	p, err := w.timed("checks", 0, func() error {
		return parallelly(parallel, parallel, func(i int) (err error) {
			counts[i], err = ask(ctx, end, addr, token, camaraBodies(first, n))
			return err
		})
	})
	for _, c := range counts {
		p.n += c
	}
	return p, err
}

func camaraBodies(first, n int) []string {
	bodies := make([]string, camaraAsks)
	for i := range bodies { // few dates: many about one number are refused
		bodies[i] = `{"phoneNumber":"` + numberAt(first+rand.IntN(n)) + `","specifiedDate":"2020-0` + strconv.Itoa(1+i%4) + `-15"}`
	}
	return bodies
}

// questioner asks one question after the other on one connection until some time, holds every answer against what it must be, and gives
// their number.
type questioner func(ctx context.Context, end time.Time, addr, token string, bodies []string) (n int, err error)

const camaraPath = "/number-recycling/v0.2/check"

// askPlainly sends bytes that were made before.
func askPlainly(_ context.Context, end time.Time, addr, token string, bodies []string) (n int, err error) {
	requests := make([][]byte, len(bodies))
	for i, body := range bodies {
		requests[i] = []byte("POST " + camaraPath + " HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: bench\r\nAuthorization: Bearer " + token +
			"\r\nContent-Type: application/json\r\nx-correlator: b4333c46-49c0-4f62-80d7-f0ef930f1c46\r\nContent-Length: " +
			strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for ; n%16 != 0 || time.Now().Before(end); n++ {
		if _, err := c.Write(requests[n%len(requests)]); err != nil {
			return n, err
		}
		if err := readRecycled(r); err != nil {
			return n, err
		}
	}
	return n, nil
}

// askByClient asks as programs in Go do.
func (w *world) askByClient(ctx context.Context, end time.Time, addr, token string, bodies []string) (n int, err error) {
	for ; n%16 != 0 || time.Now().Before(end); n++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+camaraPath, strings.NewReader(bodies[n%len(bodies)]))
		if err != nil {
			return n, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		answer, err := send(w.http, req, http.StatusOK)
		if err != nil {
			return n, err
		}
		if !bytes.Contains(answer, []byte(`"phoneNumberRecycled":true`)) {
			return n, fmt.Errorf("not what was asked for: %s", answer)
		}
	}
	return n, nil
}

// readRecycled reads an answer that must be 200 and say that the number was recycled.
func readRecycled(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		rest := make([]byte, min(r.Buffered(), 1000))
		_, _ = io.ReadFull(r, rest)
		return fmt.Errorf("%s%s", line, rest)
	}
	length := 0
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, d := range value[:len(value)-2] {
				length = length*10 + int(d-'0')
			}
		}
	}
	body, err := r.Peek(length)
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte(`"phoneNumberRecycled":true`)) {
		return fmt.Errorf("not what was asked for: %s", body)
	}
	_, err = r.Discard(length)
	return err
}

// bareCheck serves the same question and answer without any of what a hub does.
func bareCheck() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			PhoneNumber   string `json:"phoneNumber"`
			SpecifiedDate string `json:"specifiedDate"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct {
			PhoneNumberRecycled bool `json:"phoneNumberRecycled"`
		}{in.PhoneNumber != "" && in.SpecifiedDate != ""})
	})}
	go func() { _ = srv.Serve(l) }()
	return l.Addr().String(), func() { _ = srv.Close() }, nil
}
