package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var registryTests = []sentence{
	{"parties come back by number and keep number and kind", parties},
	{"clients come back and belong to a party", clients},
	{"parties that are put at once have numbers of their own", partiesAtOnce},
	{"an assertion is used once until it runs out", assertions},
	{"signing keys are given until their end", signingKeys},
	{"a lease is taken, kept, refused and taken over", leases},
	{"a setting keeps its first value", settings},
}

func party(id string) huanxin.Party {
	return huanxin.Party{ID: id, Kind: huanxin.AppParty, NameZh: "应用", NameEn: "App", Class: "mail",
		Kinds: []huanxin.TaskKind{huanxin.Unbind, huanxin.ClearLabel}, Domains: []string{"a.example", "b.example"},
		ReleaseDelay: 90 * time.Minute, CoolingDays: 91,
		Contact: huanxin.Contact{Name: "n", Email: "e", Webhook: "https://w.example/"}, Disabled: true, Replica: huanxin.ReplicaUploaded}
}

func client(id string, party huanxin.PartyNo) huanxin.Client {
	return huanxin.Client{ID: id, Party: huanxin.Party{No: party}, Scopes: huanxin.ScopesOf(huanxin.AppParty),
		SecretHash: []byte{0, 1}, JWKS: []byte("{}"), Disabled: true}
}

func version(t testing.TB, s *store.Store) (v int64) {
	t.Helper()
	read(t, s, func(tx *store.Tx) (err error) {
		v, err = tx.RegistryVersion()
		return err
	})
	return v
}

func parties(t *testing.T, s *store.Store) {
	a, b := party("a"), huanxin.Party{ID: "b", Kind: huanxin.CarrierParty}
	v := version(t, s)
	for _, p := range []*huanxin.Party{&a, &b} {
		write(t, s, func(tx *store.Tx) (err error) {
			p.No, err = tx.PutParty(*p, start)
			return err
		})
	}
	a.Class, a.Disabled, a.Kinds, a.Domains, a.Replica = "game", false, nil, nil, huanxin.ReplicaWhole
	changed := a
	changed.Kind = huanxin.RegulatorParty // not changed
	write(t, s, func(tx *store.Tx) error {
		no, err := tx.PutParty(changed, start)
		equal(t, "the number", no, a.No)
		return err
	})
	read(t, s, func(tx *store.Tx) error {
		all, err := tx.Parties()
		equal(t, "parties", all, []huanxin.Party{a, b})
		return err
	})
	equal(t, "the version", version(t, s), v+3)
}

func clients(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error { _, err := tx.PutParty(party("p"), start); return err })
	v := version(t, s)
	c := client("c", 1)
	for range 2 {
		write(t, s, func(tx *store.Tx) error { return tx.PutClient(c, start) })
		read(t, s, func(tx *store.Tx) error {
			all, err := tx.Clients()
			equal(t, "clients", all, []huanxin.Client{c})
			return err
		})
		c.SecretHash, c.Disabled, c.Scopes = nil, false, huanxin.Scopes{huanxin.ScopeTasksWork}
	}
	equal(t, "the version", version(t, s), v+2)
	refused(t, s, func(tx *store.Tx) error { return tx.PutClient(client("d", 99), start) })
}

func partiesAtOnce(t *testing.T, s *store.Store) {
	together(t, 6, func(i int) error {
		return s.Write(t.Context(), func(tx *store.Tx) error { _, err := tx.PutParty(party(fmt.Sprint("p-", i)), start); return err })
	})
	read(t, s, func(tx *store.Tx) error {
		all, err := tx.Parties()
		equal(t, "parties", len(all), 6)
		return err
	})
}

func assertions(t *testing.T, s *store.Store) {
	use := func(client, jti string, exp, now time.Duration) (fresh bool) {
		write(t, s, func(tx *store.Tx) (err error) {
			fresh, err = tx.UseAssertion(client, jti, start.Add(exp), start.Add(now))
			return err
		})
		return fresh
	}
	equal(t, "new", use("c", "j", time.Minute, 0), true)
	equal(t, "again", use("c", "j", time.Minute, time.Minute), false)
	equal(t, "another client's", use("d", "j", time.Minute, 0), true)
	equal(t, "after its end", use("c", "j", 3*time.Minute, 2*time.Minute), true)
	fresh := make([]bool, 4)
	together(t, 4, func(i int) error {
		return s.Write(t.Context(), func(tx *store.Tx) (err error) {
			fresh[i], err = tx.UseAssertion("c", "at once", start.Add(time.Hour), start)
			return err
		})
	})
	n := 0
	for _, f := range fresh {
		if f {
			n++
		}
	}
	equal(t, "new for so many at once", n, 1)
}

func signingKeys(t *testing.T, s *store.Store) {
	v := version(t, s)
	k := store.SigningKey{KID: "k", Alg: "ES256", Sealed: []byte{1, 0}, From: start, Until: start.Add(time.Hour)}
	write(t, s, func(tx *store.Tx) error {
		must(t, tx.PutSigningKey(store.SigningKey{KID: "older", Alg: "ES256", Sealed: []byte{2}, From: start.Add(-time.Hour), Until: start.Add(time.Minute)}))
		return tx.PutSigningKey(k)
	})
	get := func(after time.Duration) (kids []string) {
		read(t, s, func(tx *store.Tx) error {
			keys, err := tx.SigningKeys(start.Add(after))
			for _, k := range keys {
				kids = append(kids, k.KID)
			}
			return err
		})
		return kids
	}
	equal(t, "now", get(0), []string{"older", "k"})
	equal(t, "in a minute", get(time.Minute), []string{"k"})
	equal(t, "in an hour", get(time.Hour), []string{})
	k.Until = start.Add(2 * time.Hour)
	write(t, s, func(tx *store.Tx) error { return tx.PutSigningKey(k) })
	read(t, s, func(tx *store.Tx) error {
		keys, err := tx.SigningKeys(start.Add(time.Hour))
		equal(t, "with another end", keys, []store.SigningKey{k})
		return err
	})
	equal(t, "the version", version(t, s), v+3)
}

func leases(t *testing.T, s *store.Store) {
	for _, c := range []struct {
		who  string
		at   time.Duration
		want bool
	}{
		{"a", 0, true}, {"b", time.Second, false}, {"a", 9 * time.Second, true}, // a keeps it until 19 s
		{"b", 10 * time.Second, false}, {"b", 19 * time.Second, false}, {"b", 19*time.Second + time.Microsecond, true},
		{"a", 20 * time.Second, false}, {"b", 25 * time.Second, true},
	} {
		write(t, s, func(tx *store.Tx) error {
			mine, err := tx.Lease("l", c.who, start.Add(c.at), 10*time.Second)
			equal(t, c.who+" at "+c.at.String(), mine, c.want)
			return err
		})
	}
	write(t, s, func(tx *store.Tx) error {
		mine, err := tx.Lease("other", "a", start, time.Second)
		equal(t, "another lease", mine, true)
		return err
	})
	got := make([]bool, 6)
	together(t, len(got), func(i int) error {
		return s.Write(t.Context(), func(tx *store.Tx) (err error) {
			got[i], err = tx.Lease("at once", sprint(i), start, time.Second)
			return err
		})
	})
	n := 0
	for _, g := range got {
		if g {
			n++
		}
	}
	equal(t, "holders", n, 1)
}

func settings(t *testing.T, s *store.Store) {
	for _, value := range []string{"1", "2"} {
		write(t, s, func(tx *store.Tx) error {
			got, err := tx.Setting("a", value)
			equal(t, "the setting", got, "1")
			return err
		})
	}
	values := make([]string, 5)
	together(t, len(values), func(i int) error {
		err := s.Write(t.Context(), func(tx *store.Tx) (err error) {
			values[i], err = tx.Setting("at once", sprint(i))
			return err
		})
		return errors.Join(err)
	})
	for _, v := range values {
		equal(t, "the same for all", v, values[0])
	}
}
