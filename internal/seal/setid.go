package seal

import (
	"encoding/binary"

	"github.com/huanxin-platform/huanxin"
)

// A SET's id is one AES-256 block
//
//	the kind j (1) ‖ the stream (7, big-endian) ‖ its place in the feed (8, big-endian)
//
// encrypted, as 26 characters: it is unique in the hub, says nothing of its stream or place, and whoever knows the stream gets the
// place back from it without a look-up.
const streamBits = 56

// SETID gives the id (RFC 8417 §2.2, jti) of the SET at a place of a stream. It is always the same one, so a SET that is sent again
// has the id that it had.
func (k *Keys) SETID(stream huanxin.StreamID, no huanxin.FeedNo) string {
	if uint64(stream)>>streamBits != 0 {
		panic("seal: a stream's number is out of range")
	}
	b := k.blocks.Get().(*idBlock)
	binary.BigEndian.PutUint64(b[:], uint64(setID)<<streamBits|uint64(stream))
	binary.BigEndian.PutUint64(b[8:], uint64(no))
	k.ids.Encrypt(b[:], b[:])
	var text [idChars]byte
	encodeID(text[:], binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]))
	k.blocks.Put(b)
	return string(text[:])
}

// ParseSETID gives the place back. It is false for anything that SETID did not make for this stream with this key.
func (k *Keys) ParseSETID(stream huanxin.StreamID, s string) (huanxin.FeedNo, bool) {
	if len(s) != idChars || uint64(stream)>>streamBits != 0 {
		return 0, false
	}
	hi, lo, ok := decodeID(s)
	if !ok {
		return 0, false
	}
	b := k.blocks.Get().(*idBlock)
	binary.BigEndian.PutUint64(b[:], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	k.ids.Decrypt(b[:], b[:])
	ok = binary.BigEndian.Uint64(b[:]) == uint64(setID)<<streamBits|uint64(stream)
	no := huanxin.FeedNo(binary.BigEndian.Uint64(b[8:]))
	k.blocks.Put(b)
	if !ok {
		return 0, false
	}
	return no, true
}
