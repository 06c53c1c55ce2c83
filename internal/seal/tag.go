package seal

import (
	"encoding/binary"

	"github.com/huanxin-platform/huanxin"
)

// tagOf is the kind of block that a tag is cut from; see IDKind.
const tagOf = 'g'

// Tag gives 32 bits that are always the same for a number, and almost always others for another one: enough to keep what is about one
// number in order, and too few to find the number by, with the key as without it. It is never 0.
func (k *Keys) Tag(n huanxin.Number) uint32 {
	b := k.blocks.Get().(*idBlock)
	b.head(tagOf)
	binary.BigEndian.PutUint64(b[8:], n.Digits())
	k.ids.Encrypt(b[:], b[:])
	tag := binary.BigEndian.Uint32(b[:])
	k.blocks.Put(b)
	return max(tag, 1)
}
