package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const typeNDJSON = "application/x-ndjson"

// started is when every tenure here began.
var started = time.Date(2026, 3, 1, 8, 0, 0, 0, time.FixedZone("CST", 8*3600))

// numberAt gives the i-th number: +86138…, +86139… and so on.
func numberAt(i int) string { return "+86" + strconv.Itoa(13_800_000_000+i) }

// eventLine appends one event as a carrier reports it.
func eventLine(b []byte, number int, kind, origin string, at time.Time) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, kind...)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(number), 10)
	b = append(b, `","number":"`...)
	b = append(b, numberAt(number)...)
	b = append(b, `","kind":"`...)
	b = append(b, kind...)
	b = append(b, `","at":"`...)
	b = at.AppendFormat(b, time.RFC3339)
	if origin != "" {
		b = append(b, `","origin":"`...)
		b = append(b, origin...)
	}
	return append(b, "\"}\n"...)
}

// report sends a report and checks that all of it was accepted.
func (w *world) report(ctx context.Context, carrier int, body []byte) error {
	n := bytes.Count(body, []byte("\n"))
	got, err := w.ask(ctx, w.carriers[carrier], http.MethodPost, "/v1/number-events", typeNDJSON, "", body, http.StatusOK)
	if err != nil {
		return err
	}
	if !bytes.Contains(got, fmt.Appendf(nil, `"accepted":%d,`, n)) {
		return fmt.Errorf("%d events were not accepted: %.500s", n, got)
	}
	return nil
}

// eventRound reports fresh numbers and later events of numbers known before, three to two, each carrier its own.
func (w *world) eventRound(ctx context.Context, o options) ([]phase, error) {
	each := o.events / carrierCount
	old, fresh := each*2/5, each-each*2/5
	bodies, known := make([][]byte, carrierCount), make([][]byte, carrierCount)
	for c := range bodies {
		var b []byte
		for i := range old {
			known[c] = eventLine(known[c], w.number+i, "activated", "first", started)
		}
		for i := range each {
			if i%5 < 2 && i/5*2+i%5 < old {
				b = eventLine(b, w.number+i/5*2+i%5, "suspended", "", started.AddDate(0, 1, 0))
			} else {
				b = eventLine(b, w.number+each+i, "activated", "reassigned", started)
			}
		}
		w.number += 2*each + fresh
		bodies[c] = b
	}
	if err := parallelly(carrierCount, carrierCount, func(c int) error { return w.report(ctx, c, known[c]) }); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	p, err := w.timed("reported", each*carrierCount, func() error {
		return parallelly(carrierCount, carrierCount, func(c int) error { return w.report(ctx, c, bodies[c]) })
	})
	return []phase{p}, err
}
