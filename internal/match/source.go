package match

import (
	"context"

	"github.com/huanxin-platform/huanxin"
)

// Source answers checks. It is asked by several goroutines at once.
type Source interface {
	// Answer fills in the answers of a batch: an Answer without an outcome is one that this source cannot decide, for its reason
	// or because NeedsHub. An error is final; what may pass by itself a source tries again on its own.
	Answer(ctx context.Context, b *Batch) error
}

// Batch is some checks and their answers, each in the same place.
type Batch struct {
	Digits  []uint64 // as Number.Digits gives them
	Since   []huanxin.Since
	Answers []Answer // as long as the others
	// First and Last are the positions in the number log between which the answers are true, given by the source.
	First, Last int64

	marks [replicaBatch]uint16 // a replica's scratch
}

// Answer is what became of one check.
type Answer struct {
	Outcome huanxin.CheckOutcome
	// Reason is that of the outcome. With BadLine it is a code that says what is wrong with the question.
	Reason string
}

// BadLine in place of an outcome says that the source refused the row.
const BadLine huanxin.CheckOutcome = 255

// Reasons of UNKNOWN that are ours. The others are those of a check.
const (
	BoundAtUnknown = "bound_at_unknown" // there is no T
	NeedsHub       = "needs_hub"        // two bytes cannot decide it, and there is no hub to ask
	NotInReplica   = "not_in_replica"   // the number was not uploaded, and there is no hub to ask
)

// reset empties a batch.
func (b *Batch) reset() {
	b.Digits, b.Since, b.Answers = b.Digits[:0], b.Since[:0], b.Answers[:0]
	b.First, b.Last = 0, 0
}

func (b *Batch) add(digits uint64, since huanxin.Since) {
	b.Digits, b.Since = append(b.Digits, digits), append(b.Since, since)
}

// room makes Answers as long as the others.
func (b *Batch) room() {
	if cap(b.Answers) < len(b.Digits) {
		b.Answers = make([]Answer, len(b.Digits), cap(b.Digits))
	}
	b.Answers = b.Answers[:len(b.Digits)]
}
