package match

import (
	"encoding/binary"

	"github.com/huanxin-platform/huanxin"
)

// digitsOf reads a number in E.164 form, or with the country 86 also as 86… and as 1…, as people keep them. It gives 0 for
// what is none.
func digitsOf(b []byte, china bool) uint64 {
	if len(b) == 14 && b[0] == '+' { // as all Chinese mobile numbers are
		x := binary.LittleEndian.Uint64(b[6:]) ^ 0x3030303030303030
		head := binary.LittleEndian.Uint64(b) ^ 0x303030303030302b // "+0000000"
		if ((x+0x7676767676767676)|x|(head+0x7676767676767676)|head)&0x8080808080808080 == 0 && b[1] != '0' {
			// Eight digits: pairs, fours, all (each byte holds one, the first in the lowest).
			x = x*10 + x>>8
			x = (x&0x000000ff000000ff*(100+1_000_000<<32) + x>>16&0x000000ff000000ff*(1+10_000<<32)) >> 32
			first := head>>8&0xff*10_000 + head>>16&0xff*1_000 + head>>24&0xff*100 + head>>32&0xff*10 + head>>40&0xff
			return first*100_000_000 + x
		}
		return 0
	}
	text := string(b) // does not leave, so it is not allocated
	if china && len(b) > 0 && b[0] != '+' {
		switch {
		case len(b) >= 13 && text[:2] == "86":
			text = "+" + text
		case (len(b) == 11 || len(b) == 13) && b[0] == '1':
			text = "+86" + text
		}
	}
	n, err := huanxin.ParseNumber(text)
	if err != nil {
		return 0
	}
	return n.Digits()
}
