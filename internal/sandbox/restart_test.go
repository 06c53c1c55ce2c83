package sandbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// restarted stops a world and starts it again.
func restarted(t *testing.T, d *demo) *demo {
	t.Helper()
	stop(t, d)
	return still(t, d.o.Data)
}

// TestAWorldStartedAgainIsAsItWas starts one world again and again: to make one takes long.
func TestAWorldStartedAgainIsAsItWas(t *testing.T) {
	d := still(t, t.TempDir())
	defer func() { stop(t, d) }()
	for _, c := range []struct {
		name string
		test func(*testing.T, *demo) *demo
	}{
		{"it gives its contracts once", givesContractsOnce},
		{"every carrier says since when its changes are known", saysSinceWhen},
		{"a carrier's word is taken", takesVouchers},
		{"what an operator changed is still there", keepsChanges},
		{"credentials that were changed by hand", keepsCredentials},
	} {
		t.Run(c.name, func(t *testing.T) { d = c.test(t, d) })
	}
}

func keepsChanges(t *testing.T, d *demo) *demo {
	ctx, operator := testContext(t), core.Operator()
	hub := d.hub.Hub
	const byHand = "https://desk.example/huanxin"
	apps := catalogue.Apps()
	granted, disabled, limited, told := apps[4].ID, apps[5].ID, apps[6].ID, apps[7].ID
	must(t, hub.GrantReplica(ctx, operator, granted, huanxin.ReplicaWhole))
	must(t, hub.GrantReplica(ctx, operator, wholeReplica, huanxin.NoReplica))
	must(t, hub.DisableParty(ctx, operator, disabled, true))
	must(t, hub.DisableParty(ctx, operator, carrierID(3), true))
	for client, limits := range map[string]core.Limits{limited: core.LimitsOf(5, 7), catalogue.Yours: core.LimitsOf(100, 0)} {
		_, err := hub.LimitClient(ctx, operator, client, limits)
		must(t, err)
	}
	changed := *hub.Party(told)
	changed.Contact = huanxin.Contact{Name: "A", Email: "a@desk.example", Webhook: byHand}
	changed.ReleaseDelay, changed.NameEn = time.Hour, "Another name"
	must(t, hub.PutParty(ctx, operator, changed, false))
	numbers := []string{d.file.Numbers.Changed.Number, d.file.Numbers.Unchanged.Number}
	if r, err := d.clients[catalogue.Yours].UploadReplicaNumbers(ctx, numbers); err != nil || r.Accepted != 2 {
		t.Fatalf("the visitor's app has a contract for what it uploads: %+v %v", r, err)
	}

	d = restarted(t, d)
	hub = d.hub.Hub
	if n := pulled(t, d); n != 2 {
		t.Errorf("of 2 uploaded numbers %d are there", n)
	}
	if a, b := hub.Party(granted).Replica, hub.Party(wholeReplica).Replica; a != huanxin.ReplicaWhole || b != huanxin.NoReplica {
		t.Errorf("the grants are %v and %v", a, b)
	}
	if !hub.Party(disabled).Disabled || !hub.Party(carrierID(3)).Disabled || hub.Party(apps[8].ID).Disabled {
		t.Error("who is disabled has changed")
	}
	for id, want := range map[string][2]int64{limited: {5, 7}, catalogue.Yours: {100, 0}, granted: {0, 0}} {
		if c, err := hub.Client(ctx, id); err != nil || c.ChecksPerSecond != want[0] || c.ChecksPerDay != want[1] {
			t.Errorf("the limits of %s: %+v %v", id, c, err)
		}
	}
	if p := hub.Party(told); p.Contact != changed.Contact || p.ReleaseDelay != time.Hour || p.NameEn != apps[7].NameEn {
		t.Errorf("what was changed by hand, and what the catalogue says: %+v", p)
	}
	if p := hub.Party(granted); p.Contact.Webhook != d.hook.url()+granted {
		t.Errorf("a contact is told at %s", p.Contact.Webhook)
	}
	must(t, hub.DisableParty(ctx, operator, carrierID(3), false))
	return d
}

// pulled says how many numbers are in the replica of the visitor's app.
func pulled(t *testing.T, d *demo) int64 {
	t.Helper()
	ctx := testContext(t)
	for {
		m, err := replica.Pull(ctx, d.clients[catalogue.Yours], filepath.Join(t.TempDir(), "numbers"),
			replica.Wanted{Issuer: d.hub.URL, Audience: catalogue.Yours})
		if huanxin.KindOf(err) == huanxin.Unavailable && pause(ctx, 20*time.Millisecond) {
			continue // the index is being built
		}
		must(t, err)
		return m.Numbers
	}
}

func givesContractsOnce(t *testing.T, d *demo) *demo {
	ctx := testContext(t)
	check := func(when string) {
		t.Helper()
		c, err := d.hub.Hub.Client(ctx, catalogue.Yours)
		must(t, err)
		if c.ChecksPerSecond != -1 || c.ChecksPerDay != -1 || c.Party.Replica != huanxin.ReplicaUploaded {
			t.Errorf("%s the visitor's contract is %d a second, %d a day, replica %v", when, c.ChecksPerSecond, c.ChecksPerDay, c.Party.Replica)
		}
		if g := d.hub.Hub.Party(wholeReplica).Replica; g != huanxin.ReplicaWhole {
			t.Errorf("%s %s may have a replica of %v", when, wholeReplica, g)
		}
	}
	check("at first")

	// A world made before there were contracts.
	must(t, d.hub.Hub.GrantReplica(ctx, core.Operator(), catalogue.Yours, huanxin.NoReplica))
	must(t, d.hub.Hub.GrantReplica(ctx, core.Operator(), wholeReplica, huanxin.NoReplica))
	_, err := d.hub.Hub.LimitClient(ctx, core.Operator(), catalogue.Yours, core.LimitsOf(0, 0))
	must(t, err)
	d.mark.Contracts = false
	must(t, writeJSON(filepath.Join(d.o.Data, markName), d.mark))
	d = restarted(t, d)
	check("in an older world")
	return d
}

func saysSinceWhen(t *testing.T, d *demo) *demo {
	want := d.world.CoveredSince().String()
	checkCoverage(t, d, want)
	d = restarted(t, d)
	checkCoverage(t, d, want)

	// A world made before this was said.
	dir := d.o.Data
	stop(t, d)
	db, err := sql.Open("sqlite", filepath.Join(dir, "hub", "huanxin.db"))
	must(t, err)
	_, err = db.ExecContext(t.Context(), "UPDATE coverage SET covered_since = 0")
	must(t, err)
	must(t, db.Close())
	d = still(t, dir)
	checkCoverage(t, d, want)
	return d
}

func checkCoverage(t *testing.T, d *demo, want string) {
	t.Helper()
	ctx := testContext(t)
	token, err := d.clients[catalogue.Yours].Token(ctx)
	must(t, err)
	for { // what is told is seen when all before it is in the index
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.hub.URL+"/v1/coverage", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		var got struct {
			Carriers []struct {
				Carrier      string
				CoveredSince string    `json:"covered_since"`
				FreshAt      time.Time `json:"fresh_at"`
			}
		}
		must(t, json.NewDecoder(resp.Body).Decode(&got))
		_ = resp.Body.Close()
		said := 0
		for _, c := range got.Carriers {
			if strings.HasPrefix(c.CoveredSince, want+"T00:00:00") {
				said++
			}
		}
		if said == 4 && len(got.Carriers) == 4 {
			return
		}
		if !pause(ctx, 20*time.Millisecond) {
			t.Fatalf("want %s, got %v", want, got)
		}
	}
}

// TestNoChangeOfHolderAfterCoveredSinceIsMissing holds the stories' truth against what was reported.
func TestNoChangeOfHolderAfterCoveredSinceIsMissing(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		w := NewWorld(seed, time.Date(2026, time.November, 20, 0, 0, 0, 0, huanxin.China), 1000)
		day, before := w.CoveredSince(), false
		from, _ := day.In(huanxin.China)
		for _, s := range w.All() {
			for _, h := range timesOf(s, w.Epoch) {
				reported := slices.ContainsFunc(s.Events, func(e huanxin.Event) bool { return e.At.Equal(h.from) })
				if !reported && !h.from.Before(from) {
					t.Errorf("seed %d: somebody got the number of story %d on %v, and nobody reported it", seed, s.No, h.from)
				}
				before = before || !reported && !h.from.Before(from.AddDate(0, 0, -1))
			}
		}
		if !before || !day.Before(huanxin.DateOf(w.Epoch, huanxin.China)) {
			t.Errorf("seed %d: %v is not the first such day", seed, day)
		}
	}
}

func takesVouchers(t *testing.T, d *demo) *demo {
	ctx := testContext(t)
	checkVouchers(ctx, t, d)
	first := d.file.Vouchers
	d = restarted(t, d)
	if !slices.Equal(first, d.file.Vouchers) {
		t.Error("the carriers have other keys")
	}
	checkVouchers(ctx, t, d)

	// Killed after the registry was written and before sandbox.json was; then a world made before there were vouchers.
	d.file.Vouchers = slices.Clone(d.file.Vouchers[1:])
	must(t, writeJSON(filepath.Join(d.o.Data, fileName), d.file))
	d = restarted(t, d)
	if first[0] == d.file.Vouchers[0] || !slices.Equal(first[1:], d.file.Vouchers[1:]) {
		t.Error("one key was lost, and others were made anew")
	}
	checkVouchers(ctx, t, d)
	return d
}

// checkVouchers lets every carrier give its word about a customer of its.
func checkVouchers(ctx context.Context, t *testing.T, d *demo) {
	t.Helper()
	yours := d.file.Clients[slices.IndexFunc(d.file.Clients, func(c Client) bool { return c.ID == catalogue.Yours })]
	for _, v := range d.file.Vouchers {
		of := slices.IndexFunc(d.file.Holders, func(h Holder) bool { return h.Carrier == v.Carrier })
		if of < 0 {
			continue // the fourth carrier is small
		}
		key, err := auth.ParseClientKey([]byte(v.PrivateKey))
		must(t, err)
		keys, err := publicKeys(key)
		must(t, err)
		if v.KID == "" || !strings.Contains(string(keys), v.KID) {
			t.Errorf("%s has the key %s, not %s", v.Carrier, keys, v.KID)
		}
		word, err := auth.NumberGrant(key, v.ClientID, d.file.TokenURL, yours.ClientID, mustNumber(d.file.Holders[of].Number), time.Now())
		must(t, err)
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {word}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.file.TokenURL, strings.NewReader(form.Encode()))
		must(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(yours.ClientID, yours.Secret)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("the word of %s: %d", v.Carrier, resp.StatusCode)
		}
	}
	for _, v := range d.file.Vouchers { // the key is good for a token of the carrier's own, too, and for that alone
		key, err := auth.ParseClientKey([]byte(v.PrivateKey))
		must(t, err)
		c := client.New(client.Options{URL: d.hub.URL, ID: v.ClientID,
			Assert: func(audience string, now time.Time) (string, error) {
				return auth.Assertion(key, v.ClientID, audience, now)
			}})
		if _, err := c.Token(ctx); err != nil {
			t.Error(err)
		}
		if r, err := d.hub.Hub.Client(ctx, v.ClientID); err != nil || r.Scopes.String() != voucherScopes.String() {
			t.Errorf("%s may %v %v", v.ClientID, r.Scopes, err)
		}
	}
}

func keepsCredentials(t *testing.T, d *demo) *demo {
	ctx := testContext(t)
	theirs, err := d.hub.Hub.RotateClient(ctx, core.Operator(), catalogue.Yours, nil)
	must(t, err)
	_, err = d.hub.Hub.RotateClient(ctx, core.Operator(), carrierID(0), nil)
	must(t, err)
	_, err = d.hub.Hub.LimitClient(ctx, core.Operator(), carrierID(0), core.LimitsOf(3, 4))
	must(t, err)
	d = restarted(t, d) // which needs the carrier
	if _, err := client.New(client.Options{URL: d.hub.URL, ID: catalogue.Yours, Secret: theirs}).Token(ctx); err != nil {
		t.Errorf("the visitor's own secret is not taken any more: %v", err)
	}
	if _, err := d.clients[carrierID(0)].Token(ctx); err != nil {
		t.Errorf("the world has no secret for its carrier: %v", err)
	}
	if c, err := d.hub.Hub.Client(ctx, carrierID(0)); err != nil || c.ChecksPerSecond != 3 || c.ChecksPerDay != 4 {
		t.Errorf("a new secret took the limits away: %+v %v", c, err)
	}
	return d
}

// TestAWorldOfAnotherVersionIsRefusedAndLeftAlone: its apps' files cannot be gone on with.
func TestAWorldOfAnotherVersionIsRefusedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	old := `{"seed":7,"epoch":"2026-11-01T00:00:00+08:00","people":60,"prepared":true,"contracts":true}`
	must(t, os.WriteFile(filepath.Join(dir, markName), []byte(old), 0o600))
	err := Run(testContext(t), Options{Listen: "127.0.0.1:0", Data: dir, Still: true, Out: io.Discard, Err: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "another version") || !strings.Contains(err.Error(), "另一个版本") || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, markName)); err != nil || string(text) != old {
		t.Errorf("the world became %s, %v", text, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%d files, %v", len(left), err)
	}
}
