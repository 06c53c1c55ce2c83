package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// SignedIn is what a carrier's ID token said of who signed in, once it was verified.
type SignedIn struct {
	Carrier string // the party
	Number  huanxin.Number
	// The tenure, as the carrier knows it.
	StartedAt time.Time
	Origin    huanxin.TenureOrigin
	// Proof is how and when control of the number was proved, and the identity factor if one was given.
	Proof      huanxin.Proof
	IdentityAt time.Time
}

// HolderSession is a holder's session. Token is empty unless a new one is issued with it: its only copy.
type HolderSession struct {
	Token  string
	Caller huanxin.Caller
}

// holderClient is by which name holders stand in the audit log, with the carrier that they came from.
const holderClient = "holder"

func holderCaller(h huanxin.Holder, requestID string) huanxin.Caller {
	return huanxin.Caller{Holder: &h, Client: holderClient, RequestID: requestID}
}

// newToken gives a token of a session and what is kept of it: it has 130 bits of chance, so that its hash needs no key. It begins with the
// session's id, so that one that was replaced long ago still leads to the session that it ends.
func (h *Hub) newToken(session int64) (token string, hash []byte) {
	token = h.keys.ID(seal.SessionID, session) + rand.Text()
	return token, tokenHash(token)
}

// sessionOf gives the session that a token is or was of.
func (h *Hub) sessionOf(token string) (int64, bool) {
	size := len(token) - len(rand.Text())
	if size < 0 {
		return 0, false
	}
	return h.keys.ParseID(seal.SessionID, token[:size])
}

func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// sessionBinding ties a sealed number to its session.
func sessionBinding(id int64) []byte {
	return binary.BigEndian.AppendUint64([]byte("session "), uint64(id))
}

// holderOf puts together what a carrier said, and judges whether its holder may be here (DOMAIN.md §7 rule 12).
func (h *Hub) holderOf(tx *store.Tx, in *SignedIn, carrier huanxin.PartyNo, now time.Time) (huanxin.Holder, error) {
	who := huanxin.Holder{Number: in.Number, Carrier: carrier, StartedAt: in.StartedAt.Truncate(time.Microsecond), Origin: in.Origin, Proof: in.Proof, IdentityAt: in.IdentityAt}
	s, err := tx.LockStanding(in.Number)
	if err != nil {
		return who, err
	}
	began := false
	if s.Held() && in.Origin == huanxin.OriginUnknown {
		reporter, err := tx.Reporter(huanxin.EventNo(s.Tenure))
		if err != nil {
			return who, err
		}
		began = reporter == carrier
	}
	who.Tenure = s.Tenure
	return who, who.MaySignIn(s, began, now)
}

// SignIn begins a session for who signed in at a carrier.
func (h *Hub) SignIn(ctx context.Context, requestID string, in SignedIn) (HolderSession, error) {
	carrier := h.Party(in.Carrier)
	if carrier == nil || carrier.Kind != huanxin.CarrierParty || carrier.Disabled {
		return HolderSession{}, huanxin.Errorf(huanxin.Forbidden, "unknown_carrier", "this carrier takes no part")
	}
	var out HolderSession
	from := huanxin.Caller{Party: carrier, Client: holderClient, RequestID: requestID}
	err := h.act(ctx, from, "holder.sign_in", nil, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		who, err := h.holderOf(tx, &in, carrier.No, now)
		if err != nil {
			return err
		}
		if who.Session, err = tx.NextSession(); err != nil {
			return err
		}
		token, hash := h.newToken(who.Session)
		row := store.SessionRow{Session: huanxin.Session{Token: hash, TurnedAt: now, CreatedAt: now, SeenAt: now}, Holder: who,
			Sealed: h.keys.Seal(in.Number, sessionBinding(who.Session))}
		entry.Detail = detail(map[string]any{"tenure": h.keys.ID(seal.TenureID, int64(who.Tenure)), "control": in.Proof.Control.String()})
		out = HolderSession{Token: token, Caller: holderCaller(who, requestID)}
		return tx.InsertSession(row)
	})
	return out, err
}

func errNoSession() error {
	return huanxin.Errorf(huanxin.Unauthenticated, "no_session", "nobody is signed in")
}

// errSessionEnded and not an Unauthenticated of another code: so a person learns why.
func errSessionEnded() error {
	return huanxin.Errorf(huanxin.Unauthenticated, "session_ended", "the sign-in is over")
}

// HolderSession gives the session that a token opens. The error is Unauthenticated: no_session, session_ended (its time is up, or a token was shown
// that was replaced long ago: somebody else has it) or tenure_ended (rule 14). Now and then the session has a new token.
func (h *Hub) HolderSession(ctx context.Context, requestID, token string) (HolderSession, error) {
	id, ok := h.sessionOf(token)
	if !ok {
		return HolderSession{}, errNoSession()
	}
	hash := tokenHash(token)
	var row store.SessionRow
	var found bool
	var standing huanxin.Standing
	at := now()
	err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		if row, found, err = tx.Session(id); err != nil || !found {
			return err
		}
		if row.Holder.Number, err = h.keys.Unseal(row.Sealed, sessionBinding(row.Holder.Session)); err != nil {
			return err
		}
		all, err := tx.Standings([]huanxin.Number{row.Holder.Number})
		standing = all[row.Holder.Number].Standing
		return err
	})
	if err != nil {
		return HolderSession{}, err
	}
	if !found {
		return HolderSession{}, errNoSession()
	}
	who := holderCaller(row.Holder, requestID)
	if err := who.Holder.Still(standing); err != nil {
		return HolderSession{}, h.endSession(ctx, who, "tenure_ended", err)
	}
	switch row.Show(hash, at) {
	case huanxin.SessionStolen:
		return HolderSession{}, h.endSession(ctx, who, "stolen", errSessionEnded())
	case huanxin.SessionOver:
		return HolderSession{}, h.endSession(ctx, who, "over", errSessionEnded())
	case huanxin.SessionStays:
		if at.Sub(row.SeenAt) < time.Minute {
			return HolderSession{Caller: who}, nil
		}
	}
	return h.turnSession(ctx, who, hash)
}

// turnSession looks at a session again, alone, and writes what showing the token did to it.
func (h *Hub) turnSession(ctx context.Context, who huanxin.Caller, hash []byte) (HolderSession, error) {
	out := HolderSession{Caller: who}
	err := h.store.Write(ctx, func(tx *store.Tx) error {
		out.Token = ""
		row, found, err := tx.LockSession(who.Holder.Session)
		if err != nil {
			return err
		}
		if !found { // signed out since
			return errSessionEnded()
		}
		at := now()
		switch row.Show(hash, at) {
		case huanxin.SessionIssue:
			out.Token, row.Next = h.newToken(row.Holder.Session)
			row.IssuedAt = at
		case huanxin.SessionConfirm:
			row.Before, row.Token, row.Next, row.TurnedAt = row.Token, row.Next, nil, at
		}
		row.SeenAt = at
		return tx.SaveSession(row)
	})
	return out, err
}

func (h *Hub) endSession(ctx context.Context, who huanxin.Caller, why string, refusal error) error {
	err := h.act(ctx, who, "holder.session_end", nil, func(tx *store.Tx, _ time.Time, entry *store.AuditEntry) error {
		entry.Detail = detail(map[string]any{"why": why})
		return tx.EndSession(who.Holder.Session)
	})
	if err != nil {
		return err
	}
	return refusal
}

// StepUp takes a fresh proof of the same person at the same carrier into a session, which has a new token from then on. An identity factor takes back what
// BeginIdentityCheck counted.
func (h *Hub) StepUp(ctx context.Context, who huanxin.Caller, in SignedIn) (HolderSession, error) {
	var out HolderSession
	err := h.act(ctx, who, "holder.step_up", who.MayHold(), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		if p := h.Party(in.Carrier); p == nil || p.No != who.Holder.Carrier || in.Number != who.Holder.Number {
			return huanxin.Errorf(huanxin.Refused, "other_number", "another number was proved than the one that is signed in")
		}
		fresh, err := h.holderOf(tx, &in, who.Holder.Carrier, now)
		if err != nil {
			return err
		}
		row, found, err := tx.LockSession(who.Holder.Session)
		if err != nil {
			return err
		}
		if !found || fresh.Tenure != row.Holder.Tenure {
			return errSessionEnded()
		}
		if in.Proof.Identity == 0 { // control alone: what was given before stays
			fresh.Proof.Identity, fresh.IdentityAt = row.Holder.Proof.Identity, row.Holder.IdentityAt
		} else if err := tx.TakeBackIdentityFailure(h.keys.LookupAll(in.Number)); err != nil {
			return err
		}
		token, hash := h.newToken(row.Holder.Session)
		row.Before, row.Token, row.Next, row.TurnedAt, row.SeenAt = row.Token, hash, nil, now, now
		row.Holder.Proof, row.Holder.IdentityAt = fresh.Proof, fresh.IdentityAt
		fresh.Session, fresh.StartedAt, fresh.Origin = row.Holder.Session, row.Holder.StartedAt, row.Holder.Origin
		out = HolderSession{Token: token, Caller: holderCaller(fresh, who.RequestID)}
		entry.Detail = detail(map[string]any{"control": fresh.Proof.Control.String(), "identity": fresh.Proof.Identity.String()})
		return tx.SaveSession(row)
	})
	return out, err
}

// SignOut ends the session, or everywhere every session of the tenure.
func (h *Hub) SignOut(ctx context.Context, who huanxin.Caller, everywhere bool) error {
	return h.act(ctx, who, "holder.sign_out", who.MayHold(), func(tx *store.Tx, _ time.Time, entry *store.AuditEntry) error {
		entry.Detail = detail(map[string]any{"everywhere": everywhere})
		if everywhere {
			return tx.EndSessionsOf(who.Holder.Tenure)
		}
		return tx.EndSession(who.Holder.Session)
	})
}

// BeginIdentityCheck counts an identity check of the holder's number when they leave for it, and refuses it when five within a day did not succeed (rule 13). It
// counts as failed until StepUp takes it back: who fails at the carrier need not come back to tell.
func (h *Hub) BeginIdentityCheck(ctx context.Context, who huanxin.Caller) error {
	return h.act(ctx, who, "holder.identity_check", who.MayHold(), func(tx *store.Tx, now time.Time, _ *store.AuditEntry) error {
		s, err := tx.LockStanding(who.Holder.Number) // one after the other, however many tabs there are
		if err != nil {
			return err
		}
		if err := who.Holder.Still(s); err != nil {
			return err
		}
		day := h.durations.Day()
		failed, err := tx.IdentityFailures(h.keys.LookupAll(who.Holder.Number), now.Add(-day))
		if err != nil {
			return err
		}
		if len(failed) >= huanxin.IdentityChecksPerDay {
			return huanxin.ErrTooManyChecks(failed[len(failed)-huanxin.IdentityChecksPerDay].Add(day).Sub(now))
		}
		return tx.InsertIdentityFailure(h.keys.Lookup(who.Holder.Number), now)
	})
}

// draftKept is how long a draft that became a request still leads there: a page may be loaded again.
const draftKept = 24 * time.Hour

func (h *Hub) forgetHolders(tx *store.Tx, now time.Time) (int64, error) {
	return tx.ForgetHolders(now.Add(-huanxin.SessionIdle), now.Add(-huanxin.SessionLife), now.Add(-draftKept), now.Add(-h.durations.Day()))
}
