package seal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/huanxin-platform/huanxin"
)

// A sealed value is
//
//	version (1) ‖ key id (4, big-endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//
// The first five bytes are authenticated together with what the caller binds the value to. The nonce is
// random; 2^32 values a key (NIST SP 800-38D §8.3) are more than ten years of everything the service
// is designed for, after which the key must have been rotated.
const (
	headSize  = 1 + 4
	nonceSize = 12
	tagSize   = 16
	overhead  = headSize + nonceSize + tagSize

	versionNumber = 1 // the plain text is 8 bytes: the number's digits, big-endian
	versionBytes  = 2 // the plain text is anything
)

// SealedSize is the length of a sealed number.
const SealedSize = overhead + 8

// Refusals of Unseal and UnsealBytes. Both mean damage or a wrong key file, never a wrong input of an outsider.
var (
	ErrDamaged    = errors.New("seal: damaged, or sealed for another place")
	ErrUnknownKey = errors.New("seal: sealed with a key that the key file does not hold")
)

// Seal makes a number unreadable. Binding says where it stands (a request's id, say): it opens
// only for the same binding, so a value that is moved to another row is noticed.
func (k *Keys) Seal(n huanxin.Number, binding []byte) []byte {
	var plain [8]byte
	binary.BigEndian.PutUint64(plain[:], n.Digits())
	return k.seal(versionNumber, plain[:], binding)
}

// Unseal opens what Seal made for the same binding.
func (k *Keys) Unseal(sealed, binding []byte) (huanxin.Number, error) {
	plain, err := k.open(versionNumber, sealed, binding)
	if err != nil {
		return huanxin.Number{}, err
	}
	if len(plain) != 8 {
		return huanxin.Number{}, ErrDamaged
	}
	var text [24]byte
	text[0] = '+'
	n, err := huanxin.ParseNumber(string(strconv.AppendUint(text[:1], binary.BigEndian.Uint64(plain), 10)))
	if err != nil {
		return huanxin.Number{}, ErrDamaged // authentic, but a zero Number was sealed
	}
	return n, nil
}

// SealBytes makes any other secret unreadable, such as the hub's signing keys.
func (k *Keys) SealBytes(plain, binding []byte) []byte { return k.seal(versionBytes, plain, binding) }

// UnsealBytes opens what SealBytes made for the same binding.
func (k *Keys) UnsealBytes(sealed, binding []byte) ([]byte, error) {
	return k.open(versionBytes, sealed, binding)
}

// seal uses one allocation for everything: the plain text is encrypted in place, and what is authenticated
// but not encrypted stands behind the result's end.
func (k *Keys) seal(version byte, plain, binding []byte) []byte {
	size := overhead + len(plain)
	buf := make([]byte, size+headSize+len(binding))
	buf[0] = version
	binary.BigEndian.PutUint32(buf[1:], k.current)
	nonce := buf[headSize : headSize+nonceSize]
	_, _ = rand.Read(nonce) // never fails
	const start = headSize + nonceSize
	copy(buf[start:], plain)
	copy(buf[size:], buf[:headSize])
	copy(buf[size+headSize:], binding)
	k.sealing[k.current].Seal(buf[:start], nonce, buf[start:start+len(plain)], buf[size:])
	return buf[:size:size]
}

func (k *Keys) open(version byte, sealed, binding []byte) ([]byte, error) {
	if len(sealed) < overhead || sealed[0] != version {
		return nil, ErrDamaged
	}
	id := binary.BigEndian.Uint32(sealed[1:])
	aead, ok := k.sealing[id]
	if !ok {
		return nil, fmt.Errorf("%w: %d", ErrUnknownKey, id)
	}
	const start = headSize + nonceSize
	buf := make([]byte, 0, headSize+len(binding)+len(sealed)-overhead)
	buf = append(buf, sealed[:headSize]...)
	buf = append(buf, binding...)
	plain, err := aead.Open(buf[len(buf):], sealed[headSize:start], sealed[start:], buf)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}
