package due

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/outbound"
)

const (
	messageBatch = 64
	senders      = 8
)

// messages sends what is due to contacts' webhooks. One that is slow or dead keeps nobody waiting longer than the timeout
// of a request, and is tried again later.
func (l *Loops) messages(ctx context.Context) error {
	due, err := l.Hub.Deliveries(ctx, messageBatch)
	if err != nil {
		return err
	}
	work := make(chan core.Delivery)
	var wg sync.WaitGroup
	for range min(senders, len(due)) {
		wg.Go(func() {
			for d := range work {
				if err := l.deliver(ctx, d); err != nil && ctx.Err() == nil {
					l.Log.Error("a delivery could not be recorded", "party", d.Party, "error", err)
				}
			}
		})
	}
	for _, d := range due {
		work <- d
	}
	close(work)
	wg.Wait()
	return nil
}

func (l *Loops) deliver(ctx context.Context, d core.Delivery) error {
	failed := ""
	if err := l.post(ctx, d); err != nil {
		failed = err.Error()
		l.metrics.messages.WithLabelValues("failed").Inc()
	} else {
		l.metrics.messages.WithLabelValues("delivered").Inc()
	}
	// What was sent is recorded even while stopping, or it would be sent again.
	return l.Hub.Delivered(context.WithoutCancel(ctx), d, failed)
}

func (l *Loops) post(ctx context.Context, d core.Delivery) error {
	var claims map[string]any
	if err := json.Unmarshal(d.Body, &claims); err != nil {
		return err
	}
	message := outbound.Webhook{Issuer: l.Issuer, URL: d.URL, ID: d.Message, Claims: claims}
	a, err := message.Send(ctx, l.Client, l.Ring, time.Now())
	if err == nil && (a.Status < 200 || a.Status > 299) {
		err = fmt.Errorf("the receiver answered %d", a.Status)
	}
	return err
}
