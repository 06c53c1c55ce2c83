package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// File is sandbox.json: all that a visitor needs to take part in the world (API.md, "The demo").
type File struct {
	BaseURL  string   `json:"base_url"`
	TokenURL string   `json:"token_url"`
	Clients  []Client `json:"clients"`
	Numbers  Numbers  `json:"numbers"`
	Holders  []Holder `json:"holders"`
	// Vouchers are the carriers' clients that sign: with them a carrier gives its word about who is at the other end (docs/camara.md).
	Vouchers []Voucher `json:"vouchers"`
}

// Client is a credential.
type Client struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
	Scope    string `json:"scope"`
}

// Voucher is a carrier's client that authenticates itself, and gives the carrier's word, by signing with ES256.
type Voucher struct {
	Carrier    string `json:"carrier"`
	ClientID   string `json:"client_id"`
	PrivateKey string `json:"private_key"` // PKCS#8 as PEM
	KID        string `json:"kid"`
}

// Numbers are those that always behave as they are called.
type Numbers struct {
	Unchanged    Checkable `json:"unchanged"`
	Changed      Checkable `json:"changed"`
	NoHolder     Checkable `json:"no_holder"`
	Unknown      Checkable `json:"unknown"`
	NeverSeen    Checkable `json:"never_seen"`
	NotSupported Checkable `json:"not_supported"`
}

// Checkable is a number, and a date since when to check it.
type Checkable struct {
	Number string `json:"number"`
	Since  string `json:"since,omitempty"`
}

// Holder is a person who can make a request right now, through their carrier.
type Holder struct {
	Number    string    `json:"number"`
	Carrier   string    `json:"carrier"`
	SignIn    SignIn    `json:"sign_in"`
	StartedAt time.Time `json:"tenure_started_at"`
	Origin    string    `json:"origin"`
}

// SignIn is how the holder signs in at their carrier.
type SignIn struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Name     string `json:"name"`
	// Of the carrier's sign-in page: the OpenID provider, and what its real-name step asks for beside the name.
	Issuer     string `json:"issuer"`
	IDLastFour string `json:"id_last_four"`
}

const fileName = "sandbox.json"

// readFile gives what sandbox.json of a directory holds; of none, or a broken one, nothing.
func readFile(dir string) (f File) {
	text, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil || json.Unmarshal(text, &f) != nil {
		return File{}
	}
	return f
}

// newFile says what is true of a world at an address.
func newFile(w *World, url string, clients []Client, vouchers []Voucher) File {
	f := File{BaseURL: url, TokenURL: url + "/oauth2/token", Clients: clients, Vouchers: vouchers, Numbers: Numbers{
		Unchanged:    Checkable{w.Named.Unchanged.Number.E164(), sinceUnchanged},
		Changed:      Checkable{w.Named.Changed.Number.E164(), sinceChanged},
		NoHolder:     Checkable{w.Named.NoHolder.Number.E164(), sinceNoHolder},
		Unknown:      Checkable{w.Named.Unknown.Number.E164(), sinceUnknown},
		NeverSeen:    Checkable{Number: w.Named.NeverSeen.E164()},
		NotSupported: Checkable{Number: w.Named.NotSupported.E164()},
	}}
	for i := range w.Visitors {
		h := holderOf(w.Seed, &w.Visitors[i])
		h.SignIn.Issuer = issuerOf(url, h.Carrier)
		f.Holders = append(f.Holders, h)
	}
	return f
}

func holderOf(seed uint64, s *Story) Holder {
	t, _ := s.Now()
	name := catalogue.NewPeople(seed, streamPerson+uint64(s.No)).Name()
	r := draws(seed, streamPerson, -s.No)
	return Holder{Number: s.Number.E164(), Carrier: carrierID(s.Carrier), StartedAt: t.From.In(huanxin.China),
		Origin: t.Origin.String(),
		SignIn: SignIn{User: "holder-" + strconv.Itoa(s.No-firstVisitor+1), Password: "demo-" + strconv.Itoa(100_000+r.IntN(900_000)),
			Name: name.Zh, IDLastFour: fmt.Sprintf("%04d", draws(seed, streamPerson, s.No).IntN(10_000))}}
}

// writeJSON puts a file in place as a whole, readable by its owner alone, and on stable storage.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // after the rename it is not there
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Mark is what a directory remembers of its world. Prepared is written last: until then seeding begins anew at each start.
// Contracts says that the contracts of the world's apps stand in the registry; worlds made before there were any lack it.
type Mark struct {
	Seed     uint64    `json:"seed"`
	Epoch    time.Time `json:"epoch"`
	People   int       `json:"people"`
	Prepared bool      `json:"prepared"`

	Contracts bool `json:"contracts"`
	// Apps is the format of the apps' files; 0: the one before it was written down.
	Apps int `json:"apps"`
}

const markName = "world.json"

// readMark gives the world of a directory; found is false where there is none yet.
func readMark(dir string) (m Mark, found bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err == nil, err
}
