package replica

import (
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
)

// An index keeps 10,000 Chinese mobile numbers on a page of 20 KB, however few of them are set. The numbers of one app lie
// everywhere, few to a block: a million of them touch most of some 400,000 blocks, which were 8 GB. So an app's numbers in
// a block that has fewer than denseFrom of them lie among the index's other numbers instead, 12 bytes each, as numbers that no country has:
// country code 999 is reserved (ITU-T E.164, list of assigned country codes).
const (
	mobileFirst uint64 = 86_1_00_0000_0000
	mobileCount uint64 = 100_0000_0000
	blockSize   uint64 = 10_000
	denseFrom          = 1000

	awayFirst uint64 = 999_000_000_000_000
)

// away gives under which digits a Chinese mobile number lies that is not on a page; 0: it is none.
func away(digits uint64) uint64 {
	if d := digits - mobileFirst; d < mobileCount {
		return awayFirst + d
	}
	return 0
}

// Takes reports whether a number can stand in a replica: one of E.164's 15 digits at most, and not of a country code that there is not.
func Takes(n huanxin.Number) bool {
	d := n.Digits()
	return 0 < d && d <= index.MaxDigits && d-awayFirst >= mobileCount
}

// batch is how many numbers are looked up at once.
const batch = 4096

// Uploaded makes the index of a replica that holds exactly the given numbers, ascending and each once. marks says what the
// hub's index has of some of them; what it has not becomes huanxin.MarkAbsent. Where the hub's index is damaged the
// error is index.ErrDamaged, and it may be marks' own.
func Uploaded(numbers []uint64, marks func(digits []uint64, out []uint16) error) (*index.Index, error) {
	x := index.New()
	out := make([]uint16, batch)
	changes := make([]index.Change, 0, batch)
	placed := placer{}
	for len(numbers) > 0 {
		some := numbers[:min(batch, len(numbers))]
		if err := marks(some, out); err != nil {
			_ = x.Close()
			return nil, err
		}
		changes = changes[:0]
		for i, d := range some {
			m := out[i]
			if m == index.Damaged {
				_ = x.Close()
				return nil, index.ErrDamaged
			}
			if m == uint16(huanxin.MarkNeverSeen) {
				m = uint16(huanxin.MarkAbsent)
			}
			changes = append(changes, index.Change{Digits: placed.key(numbers[i:], d), Value: m})
		}
		x.Apply(changes)
		numbers = numbers[len(some):]
	}
	return x, nil
}

// placer decides block by block where numbers lie. rest is the ascending numbers from digits on.
type placer struct {
	block uint64 // of the last number, plus 1
	dense bool
}

func (p *placer) key(rest []uint64, digits uint64) uint64 {
	k := away(digits)
	if k == 0 {
		return digits
	}
	if block := (digits-mobileFirst)/blockSize + 1; block != p.block {
		p.block = block
		// rest begins with the block's first number, so the one denseFrom places on tells whether it has so many.
		p.dense = len(rest) >= denseFrom && (rest[denseFrom-1]-mobileFirst)/blockSize+1 == block
	}
	if p.dense {
		return digits
	}
	return k
}
