package store

import (
	"database/sql"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// RegistryVersion rises with every change of parties and clients.
func (t *Tx) RegistryVersion() (v int64, err error) {
	_, err = t.queryRow("SELECT value FROM counters WHERE name = 'registry'", nil, &v)
	return v, err
}

func (t *Tx) bumpRegistry() error {
	_, err := t.exec("UPDATE counters SET value = value + 1 WHERE name = 'registry'")
	return err
}

const partyColumns = `no, id, kind, name_zh, name_en, class, kinds, domains, release_delay, cooling_days,
	contact_name, contact_email, contact_hook, disabled, replica, feed_start, hold, not_joined, one_per_number`

// Parties gives every party of the registry.
func (t *Tx) Parties() ([]huanxin.Party, error) {
	rows, err := t.query("SELECT " + partyColumns + " FROM parties ORDER BY no")
	if err != nil {
		return nil, err
	}
	var out []huanxin.Party
	err = scanAll(rows, func(r *sql.Rows) error {
		var p huanxin.Party
		var kinds, domains string
		var delay int64
		if err := r.Scan(&p.No, &p.ID, &p.Kind, &p.NameZh, &p.NameEn, &p.Class, &kinds, &domains, &delay, &p.CoolingDays,
			&p.Contact.Name, &p.Contact.Email, &p.Contact.Webhook, &p.Disabled, &p.Replica, &p.FeedStart, &p.Hold,
			&p.NotJoined, &p.OnePerNumber); err != nil {
			return err
		}
		p.ReleaseDelay = time.Duration(delay) * time.Microsecond
		p.Domains = strings.Fields(domains)
		for _, w := range strings.Fields(kinds) {
			k, err := huanxin.ParseTaskKind(w)
			if err != nil {
				return err
			}
			p.Kinds = append(p.Kinds, k)
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// PutParty inserts a party, or changes the one with the same id, and gives its number.
func (t *Tx) PutParty(p huanxin.Party, now time.Time) (huanxin.PartyNo, error) {
	kinds := make([]string, len(p.Kinds))
	for i, k := range p.Kinds {
		kinds[i] = k.String()
	}
	if err := t.bumpRegistry(); err != nil { // first: it keeps others that change the registry waiting, or two would take one number
		return 0, err
	}
	var no huanxin.PartyNo
	_, err := t.queryRow(`INSERT INTO parties (no, id, kind, name_zh, name_en, class, kinds, domains, release_delay, cooling_days,
			contact_name, contact_email, contact_hook, disabled, created_at, replica, feed_start, hold, not_joined, one_per_number)
		VALUES ((SELECT COALESCE(MAX(no), 0) + 1 FROM parties), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (id) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en, class = excluded.class,
			kinds = excluded.kinds, domains = excluded.domains, release_delay = excluded.release_delay,
			cooling_days = excluded.cooling_days, contact_name = excluded.contact_name, contact_email = excluded.contact_email,
			contact_hook = excluded.contact_hook, disabled = excluded.disabled, replica = excluded.replica,
			feed_start = excluded.feed_start, hold = excluded.hold, not_joined = excluded.not_joined,
			one_per_number = excluded.one_per_number
		RETURNING no`,
		[]any{p.ID, int64(p.Kind), p.NameZh, p.NameEn, p.Class, strings.Join(kinds, " "), strings.Join(p.Domains, " "),
			p.ReleaseDelay.Microseconds(), p.CoolingDays, p.Contact.Name, p.Contact.Email, p.Contact.Webhook,
			bit(p.Disabled), micros(now), int64(p.Replica), bit(p.FeedStart), bit(p.Hold),
			bit(p.NotJoined), bit(p.OnePerNumber)}, &no)
	return no, err
}

// Clients gives every client of the registry with its party's number.
func (t *Tx) Clients() ([]huanxin.Client, error) {
	rows, err := t.query("SELECT id, party, scopes, secret_hash, jwks, checks_per_second, checks_per_day, feed_narrow, feed_alg, disabled FROM clients ORDER BY id")
	if err != nil {
		return nil, err
	}
	var out []huanxin.Client
	err = scanAll(rows, func(r *sql.Rows) error {
		var c huanxin.Client
		var scopes string
		if err := r.Scan(&c.ID, &c.Party.No, &scopes, &c.SecretHash, &c.JWKS, &c.ChecksPerSecond, &c.ChecksPerDay, &c.FeedNarrow, &c.FeedAlg, &c.Disabled); err != nil {
			return err
		}
		c.Scopes = huanxin.ParseScopes(scopes)
		out = append(out, c)
		return nil
	})
	return out, err
}

// PutClient inserts a client of the party with the number c.Party.No, or changes the one with the same id.
func (t *Tx) PutClient(c huanxin.Client, now time.Time) error {
	_, err := t.exec(`INSERT INTO clients (id, party, scopes, secret_hash, jwks, checks_per_second, checks_per_day, feed_narrow, feed_alg, disabled, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (id) DO UPDATE SET scopes = excluded.scopes, secret_hash = excluded.secret_hash, jwks = excluded.jwks,
			checks_per_second = excluded.checks_per_second, checks_per_day = excluded.checks_per_day,
			feed_narrow = excluded.feed_narrow, feed_alg = excluded.feed_alg, disabled = excluded.disabled`,
		c.ID, int64(c.Party.No), c.Scopes.String(), c.SecretHash, c.JWKS, c.ChecksPerSecond, c.ChecksPerDay,
		bit(c.FeedNarrow), c.FeedAlg, bit(c.Disabled), micros(now))
	if err != nil {
		return err
	}
	return t.bumpRegistry()
}

// UseAssertion remembers a client's jti until exp and reports whether it was new. Those that ran out before now are forgotten.
func (t *Tx) UseAssertion(client, jti string, exp, now time.Time) (fresh bool, err error) {
	if _, err := t.exec("DELETE FROM used_assertions WHERE exp < $1", micros(now)); err != nil {
		return false, err
	}
	res, err := t.exec("INSERT INTO used_assertions (client, jti, exp) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		client, jti, micros(exp))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// SigningKey is one of the hub's keys, its private part sealed.
type SigningKey struct {
	KID, Alg    string
	Sealed      []byte
	From, Until time.Time // signs from, published until
}

// SigningKeys gives the keys that are still published at now, oldest first.
func (t *Tx) SigningKeys(now time.Time) ([]SigningKey, error) {
	rows, err := t.query("SELECT kid, alg, sealed, from_at, until_at FROM signing_keys WHERE until_at > $1 ORDER BY from_at, kid", micros(now))
	if err != nil {
		return nil, err
	}
	var out []SigningKey
	err = scanAll(rows, func(r *sql.Rows) error {
		var k SigningKey
		var from, until int64
		if err := r.Scan(&k.KID, &k.Alg, &k.Sealed, &from, &until); err != nil {
			return err
		}
		k.From, k.Until = fromMicros(from), fromMicros(until)
		out = append(out, k)
		return nil
	})
	return out, err
}

// LockSigningKeys keeps others from changing keys, or anything else of the registry, until the transaction ends.
func (t *Tx) LockSigningKeys() error {
	_, err := t.exec("UPDATE counters SET value = value WHERE name = 'registry'")
	return err
}

// PutSigningKey inserts a key, or moves the end of one.
func (t *Tx) PutSigningKey(k SigningKey) error {
	_, err := t.exec(`INSERT INTO signing_keys (kid, alg, sealed, from_at, until_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (kid) DO UPDATE SET until_at = excluded.until_at`, k.KID, k.Alg, k.Sealed, micros(k.From), micros(k.Until))
	if err != nil {
		return err
	}
	return t.bumpRegistry()
}

// Lease takes or keeps a lease and reports whether holder has it until now + ttl.
func (t *Tx) Lease(name, holder string, now time.Time, ttl time.Duration) (bool, error) {
	res, err := t.exec(`INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
		WHERE leases.holder = excluded.holder OR leases.until < $4`, name, holder, micros(now.Add(ttl)), micros(now))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// DropLease ends a lease, whoever has it.
func (t *Tx) DropLease(name string) error {
	_, err := t.exec("DELETE FROM leases WHERE name = $1", name)
	return err
}

// Setting gives the value that a name was given first: value, unless it has one already.
func (t *Tx) Setting(name, value string) (string, error) {
	if _, err := t.exec("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, value); err != nil {
		return "", err
	}
	_, err := t.queryRow("SELECT value FROM settings WHERE name = $1", []any{name}, &value)
	return value, err
}
