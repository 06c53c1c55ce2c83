package core

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Limits are what a client's contract allows of checks, a second in the long run and a day. nil: it stays what it is, 0: the hub's
// default, -1: no limit.
type Limits struct{ PerSecond, PerDay *int64 }

// LimitsOf are limits of which both are set.
func LimitsOf(perSecond, perDay int64) Limits { return Limits{PerSecond: &perSecond, PerDay: &perDay} }

func (l *Limits) check() error {
	if l.PerSecond == nil && l.PerDay == nil {
		return huanxin.BadField("limits", "required", "give a limit a second, a limit a day, or both")
	}
	for _, v := range []struct {
		name  string
		value *int64
	}{{"checks_per_second", l.PerSecond}, {"checks_per_day", l.PerDay}} {
		if v.value != nil && *v.value < -1 {
			return huanxin.BadField(v.name, "out_of_range", "a limit is a number of checks, 0 for the hub's default, or -1 for none")
		}
	}
	return nil
}

// LimitClient changes what a client's contract allows of checks, and gives the client as it is then. It holds within 5 seconds at
// other hubs. The error is of kind Invalid for limits that are none, and of kind NotFound where there is no such client.
func (h *Hub) LimitClient(ctx context.Context, who huanxin.Caller, id string, limits Limits) (*huanxin.Client, error) {
	return h.changeClient(ctx, who, "client.limit", id, limits.check(), func(c *huanxin.Client) string {
		if limits.PerSecond != nil {
			c.ChecksPerSecond = *limits.PerSecond
		}
		if limits.PerDay != nil {
			c.ChecksPerDay = *limits.PerDay
		}
		return detail(map[string]any{"checks_per_second": c.ChecksPerSecond, "checks_per_day": c.ChecksPerDay})
	})
}

// NarrowFeed says whether a client's streams hear only of numbers that were added to them, whatever the hub's default, and gives the
// client as it is then.
func (h *Hub) NarrowFeed(ctx context.Context, who huanxin.Caller, id string, narrow bool) (*huanxin.Client, error) {
	return h.changeClient(ctx, who, "client.feed", id, nil, func(c *huanxin.Client) string {
		c.FeedNarrow = narrow
		return detail(map[string]any{"narrow": narrow})
	})
}

// changeClient changes a client by what is agreed with its party, unless something is wrong with that. change gives the detail of the
// entry in the audit log.
func (h *Hub) changeClient(ctx context.Context, who huanxin.Caller, action, id string, wrong error,
	change func(*huanxin.Client) string) (*huanxin.Client, error) {
	err := h.act(ctx, who, action, mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		entry.Subject = id
		if wrong != nil {
			return wrong
		}
		c, err := h.clientNow(tx, id)
		if err != nil {
			return err
		}
		if c == nil {
			return notFound("client")
		}
		entry.Detail = change(c)
		return tx.PutClient(*c, now)
	})
	if err == nil {
		err = h.Refresh(ctx)
	}
	if err != nil {
		return nil, err
	}
	return h.snapshot().clients[id], nil
}

// Clients gives every client, by party and id. A client of a disabled party is not disabled by that alone, see Client.Party.
func (h *Hub) Clients() []*huanxin.Client {
	var out []*huanxin.Client
	for _, c := range h.snapshot().clients {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *huanxin.Client) int {
		return cmp.Or(cmp.Compare(a.Party.No, b.Party.No), cmp.Compare(a.ID, b.ID))
	})
	return out
}
