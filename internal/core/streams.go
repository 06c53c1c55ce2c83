package core

import (
	"context"
	"strconv"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/outbound"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// FeedOptions is how apps are told of what happens.
type FeedOptions struct {
	// AllNumbers says that streams hear of every number unless it was removed (SSF's default_subjects ALL). Else they hear of those
	// that were added (NONE).
	AllNumbers bool
	// Subjects is how many numbers a stream may have added or removed; 0: 20 million.
	Subjects int64
	// AllowLoopback takes URLs on this machine, with http too: for the sandbox only.
	AllowLoopback bool
}

// PollPath is where streams are polled, followed by a stream's id.
const PollPath = "/ssf/poll/"

// Stream is a stream as it is shown.
type Stream struct {
	ID      string // opaque
	PollURL string // of a stream that is polled
	// Header may be huanxin.HiddenHeader.
	huanxin.Stream
	Subjects int64
}

// mayManage lets in who may change streams, and mayRead who may see them: to manage is more than to read.
func mayManage(who huanxin.Caller) error {
	return who.May(huanxin.AppParty, huanxin.ScopeSSFManage)
}

func mayRead(who huanxin.Caller) error {
	if who.Party != nil && who.Scopes.Has(huanxin.ScopeSSFManage) {
		return mayManage(who)
	}
	return who.May(huanxin.AppParty, huanxin.ScopeSSFRead)
}

func headerBinding(id huanxin.StreamID) []byte {
	return []byte("authorization header of stream " + strconv.FormatInt(int64(id), 10))
}

// streamHeader opens a stream's authorization header.
func (h *Hub) streamHeader(row *store.StreamRow) (string, error) {
	if len(row.Sealed) == 0 {
		return "", nil
	}
	plain, err := h.keys.UnsealBytes(row.Sealed, headerBinding(row.ID))
	return string(plain), err
}

func (h *Hub) sealHeader(row *store.StreamRow, header string) {
	row.Sealed = nil
	if header != "" {
		row.Sealed = h.keys.SealBytes([]byte(header), headerBinding(row.ID))
	}
}

// shown gives a stream as the caller may see it: its authorization header only to whoever may change it.
func (h *Hub) shown(who huanxin.Caller, issuer string, row *store.StreamRow) (out Stream, err error) {
	out = Stream{ID: h.keys.ID(seal.StreamID, int64(row.ID)), Stream: row.Stream, Subjects: row.Subjects}
	out.PollURL = issuer + PollPath + out.ID
	if len(row.Sealed) == 0 {
		return out, nil
	}
	if out.Header = huanxin.HiddenHeader; who.Scopes.Has(huanxin.ScopeSSFManage) {
		out.Header, err = h.streamHeader(row)
	}
	return out, err
}

// checkURLs judges what a receiver wants requests of ours to go to (SSF.md: on create, PATCH and PUT).
func (h *Hub) checkURLs(c *huanxin.StreamConfig) error {
	for _, u := range []struct{ field, url string }{{"delivery.endpoint_url", c.Endpoint}, {"huanxin_wake_up", c.WakeUp}} {
		if u.url == "" {
			continue
		}
		if err := outbound.CheckURL(u.url, h.feedOptions.AllowLoopback); err != nil {
			return huanxin.BadField(u.field, "url_not_allowed", detailOf(err))
		}
	}
	return nil
}

func detailOf(err error) string {
	if e, ok := err.(*huanxin.Error); ok {
		return e.Detail
	}
	return ""
}

// CreateStream makes a stream of a receiver's document, which begins at the head of the feed. issuer is the hub's URL. The error is
// too_many_streams where the client has as many as it may.
func (h *Hub) CreateStream(ctx context.Context, who huanxin.Caller, issuer string, doc huanxin.StreamDoc, key Once) (out Stream, err error) {
	err = h.once(ctx, who, "stream.create", mayManage(who), key, nil, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) (int64, error) {
		row, err := h.newStream(tx, who, doc, now)
		if err != nil {
			return 0, err
		}
		if out, err = h.shown(who, issuer, &row); err != nil {
			return 0, err
		}
		entry.Subject, entry.Detail = out.ID, configDetail(&row.StreamConfig)
		return int64(row.ID), tx.InsertStream(row)
	}, func(tx *store.Tx, made int64) error {
		row, found, err := tx.Stream(huanxin.StreamID(made))
		if err == nil && !found {
			err = notFound("stream any more")
		}
		if err == nil {
			out, err = h.shown(who, issuer, &row)
		}
		return err
	})
	return out, err
}

func (h *Hub) newStream(tx *store.Tx, who huanxin.Caller, doc huanxin.StreamDoc, now time.Time) (row store.StreamRow, err error) {
	config, err := huanxin.NewStreamConfig(doc, "")
	if err == nil {
		err = h.checkURLs(&config)
	}
	if err != nil {
		return row, err
	}
	found, err := tx.LockClient(who.Client) // of two that come at once the second sees the first
	if err == nil && !found {
		err = notFound("client")
	}
	if err != nil {
		return row, err
	}
	streams, err := tx.StreamsOf(who.Client)
	if err != nil {
		return row, err
	}
	if len(streams) >= huanxin.MaxStreams {
		return row, huanxin.Errorf(huanxin.Conflict, "too_many_streams", "the client has as many streams as it may; change or delete one")
	}
	if row.ID, err = tx.NextStream(); err != nil {
		return row, err
	}
	h.sealHeader(&row, config.Header)
	config.Header = ""
	row.Client, row.StreamConfig, row.Status, row.CreatedAt = who.Client, config, huanxin.StreamEnabled, now
	return row, nil
}

// configDetail says what a configuration is, without what might be secret in its URLs.
func configDetail(c *huanxin.StreamConfig) string {
	return detail(map[string]any{"method": c.Method.String(), "events": len(c.Delivered()), "wake_up": c.WakeUp != ""})
}

// ownStream gives a stream of the caller's. Another's is not there.
func (h *Hub) ownStream(who huanxin.Caller, id string, get func(huanxin.StreamID) (store.StreamRow, bool, error)) (row store.StreamRow, err error) {
	no, ok := h.keys.ParseID(seal.StreamID, id)
	if !ok {
		return row, notFound("stream")
	}
	row, found, err := get(huanxin.StreamID(no))
	if err == nil && (!found || row.Client != who.Client) {
		err = notFound("stream")
	}
	return row, err
}

// changeStream is the shape of everything that a receiver does about one stream.
func (h *Hub) changeStream(ctx context.Context, who huanxin.Caller, action, id string,
	f func(tx *store.Tx, now time.Time, entry *store.AuditEntry, row *store.StreamRow) error) error {
	var no huanxin.StreamID
	err := h.act(ctx, who, action, mayManage(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		row, err := h.ownStream(who, id, tx.LockStream)
		if err != nil {
			return err
		}
		entry.Subject, no = id, row.ID
		return f(tx, now, entry, &row)
	})
	if err == nil {
		h.touch(ctx, no)
		h.streamMoved(no)
	}
	return err
}

// Stream gives one of the client's streams.
func (h *Hub) Stream(ctx context.Context, who huanxin.Caller, issuer, id string) (out Stream, err error) {
	if err := mayRead(who); err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "stream.read"), err)
		return out, err
	}
	var row store.StreamRow
	if err = h.store.Read(ctx, func(tx *store.Tx) (err error) {
		row, err = h.ownStream(who, id, tx.Stream)
		return err
	}); err != nil {
		return out, err
	}
	h.touch(ctx, row.ID)
	return h.shown(who, issuer, &row)
}

// Streams gives the client's streams, in the order in which they were made.
func (h *Hub) Streams(ctx context.Context, who huanxin.Caller, issuer string) ([]Stream, error) {
	return h.streamsOf(ctx, who, "stream.list", mayRead(who), issuer)
}

// StreamsOfSelf is Streams for whoever works the app's tasks.
func (h *Hub) StreamsOfSelf(ctx context.Context, who huanxin.Caller) ([]Stream, error) {
	return h.streamsOf(ctx, who, "app.self", who.May(huanxin.AppParty, huanxin.ScopeTasksWork), "")
}

func (h *Hub) streamsOf(ctx context.Context, who huanxin.Caller, action string, may error, issuer string) (out []Stream, err error) {
	if may != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, action), may)
		return nil, may
	}
	err = h.store.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.StreamsOf(who.Client)
		if err != nil {
			return err
		}
		out = make([]Stream, len(rows))
		for i := range rows {
			if out[i], err = h.shown(who, issuer, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// PatchStream changes what a document holds and leaves the rest of a stream's configuration as it is (SSF 1.0 §8.1.1.3).
func (h *Hub) PatchStream(ctx context.Context, who huanxin.Caller, issuer, id string, doc huanxin.StreamDoc) (Stream, error) {
	return h.configure(ctx, who, issuer, id, "stream.patch", doc, huanxin.StreamConfig.Patched)
}

// ReplaceStream makes a stream's configuration anew of a document (SSF 1.0 §8.1.1.4).
func (h *Hub) ReplaceStream(ctx context.Context, who huanxin.Caller, issuer, id string, doc huanxin.StreamDoc) (Stream, error) {
	return h.configure(ctx, who, issuer, id, "stream.replace", doc,
		func(_ huanxin.StreamConfig, doc huanxin.StreamDoc, pollURL string) (huanxin.StreamConfig, error) {
			return huanxin.NewStreamConfig(doc, pollURL)
		})
}

func (h *Hub) configure(ctx context.Context, who huanxin.Caller, issuer, id, action string, doc huanxin.StreamDoc,
	change func(huanxin.StreamConfig, huanxin.StreamDoc, string) (huanxin.StreamConfig, error)) (out Stream, err error) {
	err = h.changeStream(ctx, who, action, id, func(tx *store.Tx, _ time.Time, entry *store.AuditEntry, row *store.StreamRow) (err error) {
		facts := huanxin.StreamFacts{Issuer: issuer, Audience: row.Client, PollURL: issuer + PollPath + id}
		if err := doc.Repeats(&row.StreamConfig, facts); err != nil {
			return err
		}
		if row.Header, err = h.streamHeader(row); err != nil {
			return err
		}
		config, err := change(row.StreamConfig, doc, facts.PollURL)
		if err == nil {
			err = h.checkURLs(&config)
		}
		if err != nil {
			return err
		}
		h.sealHeader(row, config.Header)
		config.Header = ""
		row.StreamConfig = config
		entry.Detail = configDetail(&config)
		if err := tx.SaveStream(*row); err != nil {
			return err
		}
		out, err = h.shown(who, issuer, row)
		return err
	})
	return out, err
}

// DeleteStream deletes a stream with all that was kept for it. It is gone at once.
func (h *Hub) DeleteStream(ctx context.Context, who huanxin.Caller, id string) error {
	return h.changeStream(ctx, who, "stream.delete", id, func(tx *store.Tx, _ time.Time, _ *store.AuditEntry, row *store.StreamRow) error {
		return tx.DeleteStream(row.ID)
	})
}

// ClearStreams takes away at most limit rows that deleted streams left, and says whether there may be more.
func (h *Hub) ClearStreams(ctx context.Context, limit int) (more bool, err error) {
	err = h.store.Write(ctx, func(tx *store.Tx) error {
		more, err = tx.ClearStreams(limit)
		return err
	})
	return more, err
}
