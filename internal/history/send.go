package history

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

const maxPause = time.Minute

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// send sends a piece until the hub acknowledges or refuses it; nil states what is told.
func (im *importer) send(ctx context.Context, text []byte) (client.HistoryReceipt, error) {
	if text != nil {
		im.buffer = im.encoder.EncodeAll(text, im.buffer[:0])
	}
	pause, giveUp, began, denied := orElse(im.Pause, 250*time.Millisecond), orElse(im.GiveUp, 15*time.Minute), time.Now(), 0
	for {
		got, err := im.sendOnce(ctx, text != nil)
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return got, context.Cause(ctx)
		}
		if huanxin.CodeOf(err) == "invalid_token" {
			denied++ // once it may have run out under way
		}
		if !mayPass(err, denied) {
			return got, err
		}
		wait := max(pause/2+rand.N(pause), retryAfter(err))
		if time.Since(began)+wait > giveUp {
			return got, fmt.Errorf("given up after %v: %w", time.Since(began).Round(time.Second), err)
		}
		if im.Waiting != nil {
			im.Waiting(err, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return got, context.Cause(ctx)
		}
		pause = min(2*pause, maxPause)
	}
}

func (im *importer) sendOnce(ctx context.Context, lines bool) (client.HistoryReceipt, error) {
	if !lines {
		return im.Client.ImportHistory(ctx, nil, im.Told)
	}
	return im.Client.ImportHistory(ctx, &client.HistoryBody{Reader: bytes.NewReader(im.buffer), Type: "text/csv", Encoding: "zstd"}, client.HistoryTold{})
}

// mayPass reports whether a failure may be gone the next time: the network's, the hub's own, and too much at once.
func mayPass(err error, denied int) bool {
	switch huanxin.KindOf(err) {
	case huanxin.Internal, huanxin.Limited, huanxin.Unavailable:
		return true
	case huanxin.Unauthenticated:
		return denied == 1
	}
	return huanxin.CodeOf(err) == "broken_body" // cut on its way
}

func retryAfter(err error) time.Duration {
	if e, ok := err.(*huanxin.Error); ok {
		return e.RetryAfter
	}
	return 0
}
