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

// messages sends what is due to contacts' webhooks, to each party one after the other. A receiver that fails is not tried
// again in this round: what else is due there is put off as well, so that a dead one takes up one sender for the time of one
// request, and nobody's place.
func (l *Loops) messages(ctx context.Context) error {
	due, err := l.Hub.Deliveries(ctx, messageBatch)
	if err != nil {
		return err
	}
	byParty := map[string][]core.Delivery{}
	for _, d := range due {
		byParty[d.Party] = append(byParty[d.Party], d)
	}
	free := make(chan struct{}, senders)
	var wg sync.WaitGroup
	for _, list := range byParty {
		free <- struct{}{}
		wg.Go(func() {
			l.deliverAll(ctx, list)
			<-free
		})
	}
	wg.Wait()
	return nil
}

func (l *Loops) deliverAll(ctx context.Context, list []core.Delivery) {
	failed := ""
	for _, d := range list {
		if ctx.Err() != nil {
			return
		}
		var err error
		if failed == "" {
			failed, err = l.deliver(ctx, d)
		} else {
			err = l.Hub.Delivered(ctx, d, failed)
		}
		if err != nil && ctx.Err() == nil {
			l.Log.Error("a delivery could not be recorded", "party", d.Party, "error", err)
		}
	}
}

func (l *Loops) deliver(ctx context.Context, d core.Delivery) (failed string, err error) {
	if err := l.post(ctx, d); err != nil {
		failed = err.Error()
		l.metrics.messages.WithLabelValues("failed").Inc()
	} else {
		l.metrics.messages.WithLabelValues("delivered").Inc()
	}
	// What was sent is recorded even while stopping, or it would be sent again.
	return failed, l.Hub.Delivered(context.WithoutCancel(ctx), d, failed)
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
