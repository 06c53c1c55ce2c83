package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// The feed: events to many receivers that poll, each SET signed for its receiver, beside the bare signatures of the same algorithm on
// all cores; how soon an event reaches a poll that waits; and what polls that wait cost.

const feedReceivers = 239

// receiver is one stream with its client.
type receiver struct {
	client *client.Client
	stream client.Stream
	path   string
}

// feed measures the feed and prints what it saw.
func (w *world) feed(ctx context.Context, o options, out io.Writer) error {
	receivers, signing, waits := feedReceivers, 3*time.Second, 400
	if o.short {
		receivers, signing, waits = 5, 50*time.Millisecond, 5
	}
	all, err := w.receivers(ctx, "feed", receivers, 1)
	if err != nil {
		return err
	}
	if err := w.fanOut(ctx, o, out, all, signing); err != nil {
		return err
	}
	for _, n := range []int{1, len(all)} {
		if err := w.latency(ctx, out, all, n, waits); err != nil {
			return err
		}
	}
	return w.idlePolls(ctx, o, out)
}

// receivers makes apps, each with one client and some poll streams.
func (w *world) receivers(ctx context.Context, name string, apps, streams int) ([]receiver, error) {
	all := make([]receiver, apps*streams)
	err := parallelly(apps, parallel, func(i int) error {
		id := fmt.Sprintf("%s-%d", name, i)
		p := huanxin.Party{ID: id, NameZh: id, NameEn: id, Kind: huanxin.AppParty, Class: "shopping", Kinds: []huanxin.TaskKind{huanxin.Unbind}}
		if err := w.hub.PutParty(ctx, core.Operator(), p, true); err != nil {
			return err
		}
		secret, err := w.hub.AddClient(ctx, core.Operator(), core.NewClient{ID: id, Party: id, Secret: true})
		if err != nil {
			return err
		}
		c := client.New(client.Options{URL: w.url, ID: id, Secret: secret, HTTP: w.http})
		for k := range streams {
			s, err := c.CreateStream(ctx, client.StreamConfig{})
			if err != nil {
				return err
			}
			all[i*streams+k] = receiver{client: c, stream: s, path: s.Delivery.EndpointURL[len(w.url):]}
		}
		return nil
	})
	return all, err
}

// hold has numbers held for the first time, of which nobody is told.
func (w *world) hold(ctx context.Context, first, n int) error {
	for done := 0; done < n; {
		var body []byte
		for end := min(done+20_000, n); done < end; done++ {
			body = eventLine(body, first+done, "activated", "first", started)
		}
		if err := w.report(ctx, 0, body); err != nil {
			return err
		}
	}
	return w.settle(ctx)
}

// rawSignatures signs digests on all cores for a while, deterministically as SETs are, and gives how many a second.
func rawSignatures(span time.Duration) (float64, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	var n atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			digest := sha256.Sum256([]byte("what is signed"))
			for time.Since(began) < span {
				for range 16 {
					if _, err := key.Sign(nil, digest[:], crypto.SHA256); err != nil {
						panic(err) // a key that was just made signs
					}
					digest[0]++
				}
				n.Add(16)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(began).Seconds(), nil
}

// fanOut has every receiver told of the same events.
func (w *world) fanOut(ctx context.Context, o options, out io.Writer, all []receiver, signing time.Duration) error {
	first := w.number
	w.number += o.feed
	if err := w.hold(ctx, first, o.feed); err != nil {
		return err
	}
	before, err := rawSignatures(signing)
	if err != nil {
		return err
	}
	if err := parallelly(len(all), parallel, func(i int) error { return w.drain(ctx, all[i]) }); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	memory := make(chan []uint64, 1)
	go func() { memory <- watch(watching) }()
	p, err := w.timed("SETs", o.feed*len(all), func() error { return w.transferAndReceive(ctx, first, o.feed, all) })
	stop()
	if err != nil {
		return err
	}
	after, err := rawSignatures(signing)
	if err != nil {
		return err
	}
	raw := max(before, after)
	fmt.Fprintf(out, "  %d events to %d receivers that poll, each SET signed for its receiver with ES256\n", o.feed, len(all))
	fmt.Fprintf(out, "    bare signatures, all cores                      %8.0f/s (before %.0f, after %.0f)\n", raw, before, after)
	fmt.Fprintf(out, "    SETs written, signed, fetched and acknowledged  %8.0f/s, CPU %.1f µs each (receivers' too), others took %.0f %% of the machine; 0.6: %.2f\n",
		p.rate(), p.cpu.process/float64(p.n)*1e6, p.others(), p.rate()/raw)
	seen := <-memory
	half := len(seen) / 2
	fmt.Fprintf(out, "    memory of the process, hub and receivers        %8.0f MB at most, in the first half of the time %.0f\n",
		float64(slices.Max(seen))/1e6, float64(slices.Max(seen[:half+1]))/1e6)
	return nil
}

// watch gives the resident memory at every tenth of a second until ctx is done.
func watch(ctx context.Context) (seen []uint64) {
	for {
		seen = append(seen, resident())
		select {
		case <-ctx.Done():
			return seen
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// transferAndReceive reports transfers of numbers and returns when every receiver has acknowledged all of them.
func (w *world) transferAndReceive(ctx context.Context, first, n int, all []receiver) error {
	failed := make(chan error, 1)
	go func() {
		var err error
		for done := 0; done < n && err == nil; {
			var body []byte
			for end := min(done+20_000, n); done < end; done++ {
				body = eventLine(body, first+done, "transferred", "", started.AddDate(0, 2, 0))
			}
			err = w.report(ctx, 0, body)
		}
		failed <- err
	}()
	err := parallelly(len(all), len(all), func(i int) error {
		var answer []byte
		var acks [][]byte
		for got := 0; got < n || len(acks) > 0; {
			var err error
			if answer, err = w.poll(ctx, all[i], acks, got >= n, answer[:0]); err != nil {
				return err
			}
			acks = jtis(answer, acks[:0])
			got += len(acks)
			if got > n {
				return fmt.Errorf("receiver %d got %d SETs of %d events", i, got, n)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return <-failed
}

// poll acknowledges, and fetches what there is; it waits for something unless it is to answer at once.
func (w *world) poll(ctx context.Context, r receiver, acks [][]byte, atOnce bool, to []byte) ([]byte, error) {
	body := append([]byte(nil), `{"ack":[`...)
	for i, jti := range acks {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(append(append(body, '"'), jti...), '"')
	}
	body = fmt.Appendf(body, `],"returnImmediately":%t}`, atOnce)
	token, err := r.client.Token(ctx)
	if err != nil {
		return to, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+r.path, bytes.NewReader(body))
	if err != nil {
		return to, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.http.Do(req)
	if err != nil {
		return to, err
	}
	defer resp.Body.Close()
	b := bytes.NewBuffer(to)
	if _, err := b.ReadFrom(resp.Body); err != nil {
		return to, err
	}
	if resp.StatusCode != http.StatusOK {
		return to, fmt.Errorf("poll: status %d: %.200s", resp.StatusCode, b.Bytes())
	}
	return b.Bytes(), nil
}

// jtis gives the names of the SETs in a poll's answer. SETs hold no quotes, so the names are every other text.
func jtis(answer []byte, to [][]byte) [][]byte {
	at := bytes.Index(answer, []byte(`"sets":{`))
	if at < 0 {
		return to
	}
	for rest := answer[at+len(`"sets":{`):]; len(rest) > 0 && rest[0] != '}'; {
		parts := bytes.SplitN(rest, []byte{'"'}, 5) // "", jti, ":", SET, rest
		if len(parts) < 5 {
			return to
		}
		to = append(to, parts[1])
		rest = bytes.TrimPrefix(parts[4], []byte{','})
	}
	return to
}

// drain acknowledges whatever a stream has.
func (w *world) drain(ctx context.Context, r receiver) error {
	var acks [][]byte
	for first := true; first || len(acks) > 0; first = false {
		answer, err := w.poll(ctx, r, acks, true, nil)
		if err != nil {
			return err
		}
		acks = jtis(answer, nil)
	}
	return nil
}

// latency reports events one after the other while n of the receivers wait, and prints how long the first of them took to get each.
func (w *world) latency(ctx context.Context, out io.Writer, all []receiver, n, times int) error {
	first := w.number
	w.number += times
	if err := w.hold(ctx, first, times); err != nil {
		return err
	}
	if err := parallelly(len(all), parallel, func(i int) error { return w.drain(ctx, all[i]) }); err != nil {
		return err
	}
	arrived := make(chan time.Time, n)
	polling, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var acks [][]byte
			for polling.Err() == nil {
				answer, err := w.poll(polling, all[i], acks, false, nil)
				if err != nil {
					return // it was stopped; the caller notices if not
				}
				if acks = jtis(answer, nil); len(acks) > 0 {
					arrived <- time.Now()
				}
			}
		})
	}
	var sent, acked []time.Duration
	var err error
	for i := 0; i < times && err == nil; i++ {
		time.Sleep(5 * time.Millisecond) // the acknowledgements of the event before
		body := eventLine(nil, first+i, "transferred", "", started.AddDate(0, 2, 0))
		began := time.Now()
		err = w.report(ctx, 0, body)
		known := time.Now()
		for range n {
			select {
			case at := <-arrived:
				sent, acked = append(sent, at.Sub(began)), append(acked, max(0, at.Sub(known)))
			case <-time.After(10 * time.Second):
				err = fmt.Errorf("an event did not reach every poll that waits")
			}
			if err != nil {
				break
			}
		}
	}
	stop()
	wg.Wait()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  an event to %d polls that wait, %d times: from sending the report p50 %v, p99 %v (50 ms); from its acknowledgement p50 %v, p99 %v\n",
		n, times, quantile(sent, 0.5), quantile(sent, 0.99), quantile(acked, 0.5), quantile(acked, 0.99))
	return nil
}

func quantile(d []time.Duration, q float64) time.Duration {
	slices.Sort(d)
	return d[min(int(float64(len(d))*q), len(d)-1)].Round(100 * time.Microsecond)
}
