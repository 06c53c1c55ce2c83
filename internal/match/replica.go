package match

import (
	"context"

	"github.com/huanxin-platform/huanxin"
)

// Marks is an index of marks: index.Index is one.
type Marks interface {
	// Lookup gives each number's mark; 0xFFFF, which is no mark, where nothing is known.
	Lookup(digits []uint64, marks []uint16)
}

// Replica answers from an index beside the program.
type Replica struct {
	Marks Marks
	// AsOf is the position in the number log that the index is of.
	AsOf int64
	// Uploaded: the index holds only the numbers that the app uploaded, and those that the hub never saw as MarkAbsent.
	Uploaded bool
	// Present is when the questions are asked.
	Present huanxin.Present
}

const (
	replicaBatch = 128
	damaged      = 0xFFFF
)

// Answer decides what two bytes decide.
func (r *Replica) Answer(_ context.Context, b *Batch) error {
	b.First, b.Last = r.AsOf, r.AsOf
	for from := 0; from < len(b.Digits); from += replicaBatch {
		to := min(from+replicaBatch, len(b.Digits))
		r.answer(b.Digits[from:to], b.Since[from:to], b.Answers[from:to], &b.marks)
	}
	return nil
}

func (r *Replica) answer(digits []uint64, since []huanxin.Since, answers []Answer, marks *[replicaBatch]uint16) {
	r.Marks.Lookup(digits, marks[:len(digits)])
	since, answers = since[:len(digits)], answers[:len(digits)]
	for i, d := range digits {
		a := Answer{}
		if m := huanxin.Mark(marks[i&(replicaBatch-1)]); m != damaged {
			if outcome, reason, ok := m.Answer(huanxin.NumberOf(d), since[i], &r.Present); ok {
				a = Answer{outcome, reason}
			}
			if m == huanxin.MarkNeverSeen && r.Uploaded && a.Reason == huanxin.CheckNeverSeen {
				a = Answer{0, NotInReplica} // the hub may know it
			}
		}
		answers[i] = a
	}
}
