// Package seal makes plain numbers and other secrets unreadable at rest, finds numbers again by a keyed
// hash, and turns the small consecutive ids of the database into opaque ones.
//
// All keys live in one file beside nothing else of value: whoever has the database but not the file can
// read no number and, because the look-up hash is keyed, cannot find one by trying them all either
// (DOMAIN.md §7 rule 9). The three purposes have keys of their own. Sealing and look-up keys come in lists
// with a current one, so that they can be rotated; the id key never changes, so ids stay valid for ever.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// keySize is the length of every key: AES-256 and HMAC-SHA-256.
const keySize = 32

// Keys seals, looks up and makes ids. It never changes once made and is safe for concurrent use.
type Keys struct {
	sealing map[uint32]cipher.AEAD
	current uint32       // the id of the key that Seal uses
	lookups []*lookupKey // the current one first
	ids     cipher.Block
	blocks  sync.Pool // of *idBlock
	mark    string
}

// Generate makes fresh keys that are kept nowhere: for tests.
func Generate() *Keys {
	k, err := newKeys(freshFile())
	if err != nil {
		panic("seal: fresh keys are refused: " + err.Error())
	}
	return k
}

// Fingerprint identifies the key file without giving anything of it away. It is worked out of the id key,
// so it stays the same for ever. The store keeps it, so that a hub that was started with another key
// file, or had to make a new one because the old one is gone, can stop instead of writing a mixture.
func (k *Keys) Fingerprint() string { return k.mark }

const redacted = "[keys]"

// Format writes "[keys]", whatever the verb, so that no habit of printing gives keys away.
func (k *Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String gives "[keys]".
func (k *Keys) String() string { return redacted }

// LogValue gives "[keys]".
func (k *Keys) LogValue() slog.Value { return slog.StringValue(redacted) }

// newKeys checks a key file's content and makes ready what is used often.
func newKeys(f keyFile) (*Keys, error) {
	if f.Format != fileFormat {
		return nil, fmt.Errorf("its format is not %q", fileFormat)
	}
	if err := f.Sealing.check(); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	if err := f.Lookup.check(); err != nil {
		return nil, fmt.Errorf("lookup: %w", err)
	}
	if len(f.ID) != keySize {
		return nil, fmt.Errorf("id: the key is not %d bytes long", keySize)
	}
	k := &Keys{sealing: make(map[uint32]cipher.AEAD, len(f.Sealing.Keys)), current: f.Sealing.Current}
	for _, key := range f.Sealing.Keys {
		block, err := aes.NewCipher(key.Key)
		if err != nil {
			return nil, err
		}
		if k.sealing[key.ID], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
	}
	for _, key := range f.Lookup.Keys {
		l := newLookupKey(key)
		if key.ID == f.Lookup.Current {
			k.lookups = append([]*lookupKey{l}, k.lookups...)
		} else {
			k.lookups = append(k.lookups, l)
		}
	}
	var err error
	if k.ids, err = aes.NewCipher(f.ID); err != nil {
		return nil, err
	}
	k.blocks.New = func() any { return new(idBlock) }
	mac := hmac.New(sha256.New, f.ID)
	mac.Write([]byte("huanxin key file fingerprint"))
	k.mark = hex.EncodeToString(mac.Sum(nil)[:8])
	return k, nil
}

// fileFormat is the first member of a key file. A later format gets another name.
const fileFormat = "huanxin-keys/1"

// keyFile is what the key file holds, as JSON. Key ids are chosen once and never used again.
type keyFile struct {
	Format  string  `json:"format"`
	Sealing keyList `json:"sealing"`
	Lookup  keyList `json:"lookup"`
	ID      []byte  `json:"id"`
}

// keyList is the keys of one purpose, of which one is used for what is new.
type keyList struct {
	Current uint32    `json:"current"`
	Keys    []fileKey `json:"keys"`
}

// fileKey is one key under its id.
type fileKey struct {
	ID  uint32 `json:"id"`
	Key []byte `json:"key"` // 32 bytes, base64
}

func (l keyList) check() error {
	seen := make(map[uint32]bool, len(l.Keys))
	for _, k := range l.Keys {
		switch {
		case k.ID == 0:
			return errors.New("a key has no id")
		case seen[k.ID]:
			return fmt.Errorf("two keys have the id %d", k.ID)
		case len(k.Key) != keySize:
			return fmt.Errorf("key %d is not %d bytes long", k.ID, keySize)
		}
		seen[k.ID] = true
	}
	if !seen[l.Current] {
		return fmt.Errorf("the current key %d is not in the list", l.Current)
	}
	return nil
}

func freshFile() keyFile {
	one := func() keyList { return keyList{Current: 1, Keys: []fileKey{{ID: 1, Key: freshKey()}}} }
	return keyFile{Format: fileFormat, Sealing: one(), Lookup: one(), ID: freshKey()}
}

// freshKey never fails: crypto/rand ends the process where the system gives no randomness.
func freshKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	return key
}
