package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// want is what a task wants of the company's accounts.
type want struct {
	task    string
	kind    huanxin.TaskKind
	number  huanxin.Number
	tenure  string
	started time.Time
	origin  string
	zone    *time.Location
}

// deed is what is done to a binding.
type deed uint8

const (
	suspend deed = iota + 1 // the number stops being a key
	resume                  // and is one again
	unbind                  // unbind, or take a mark off
	restore                 // undo unbind
)

var deedWords = [...]string{suspend: "suspend", resume: "resume", unbind: "unbind", restore: "restore"}

// order is one deed on one binding.
type order struct {
	*want
	deed    deed
	binding string
	account string
	token   string
	until   time.Time // of the token
	now     time.Time
	// intended is when the deed was first meant to be done; it stays when it is tried again.
	intended time.Time
	// still decides once more, within the transaction, by what the database says there; nil facts: it is not there any more.
	// For restore it is given every binding of the number.
	still func(all []Facts) bool

	// What became of it. After an error nothing was done, unless the effect is uncertain.
	effect effect
	err    error
	// step, unless nil, is told that the statements have run and nothing is committed.
	step func()
}

func (o *order) begun() {
	if o.step != nil {
		o.step()
	}
}

// judge says why an order is not to be done, by what is there now; 0: it is.
func (o *order) judge(all []Facts) effect {
	switch {
	case o.deed != restore && !slices.ContainsFunc(all, func(f Facts) bool { return f.ID == o.binding }):
		return gone
	case !o.still(all):
		return changed
	}
	return 0
}

// effect is what became of an order.
type effect uint8

const (
	acted     effect = iota + 1 // done, and committed
	gone                        // there was nothing to do it to: no row was touched
	changed                     // still said no: nothing was done
	uncertain                   // it may have been done or not
)

// connector reaches the company's accounts. It is safe for concurrent use.
type connector interface {
	// find gives the bindings of each want, or why they cannot be told. It answers for all of them at once.
	find(ctx context.Context, wants []*want) []found
	// act does one order after another, until next has none: each in one transaction. did is told of each whose end is known. An error says
	// why it left off before: the accounts cannot be reached.
	act(ctx context.Context, next func() *order, did func(*order)) error
	// can reports whether the company said how to do something.
	can(d deed) bool
	// atOnce is how many acts may be under way.
	atOnce() int
	// token makes the token under which a binding that is unbound for a task can be restored.
	token(task, binding string) string
	// lease takes, or keeps, the right to be the only agent on these accounts; errTaken: another one has it.
	lease(ctx context.Context) error
	// check says what is wrong, or looks wrong, with how accounts are reached.
	check(ctx context.Context, r *Report)
	close() error
}

// found is what find gives for one want.
type found struct {
	facts []Facts
	err   error
}

// inTurn is act by a way of doing one order.
func inTurn(next func() *order, did func(*order), act func(*order) (effect, error)) error {
	for o := next(); o != nil; o = next() {
		o.effect, o.err = act(o)
		did(o)
		if _, gone := errors.AsType[*unreachable](o.err); gone {
			return o.err
		}
	}
	return nil
}

// unreachable is why there is no connection to the accounts. Another attempt for the next order would take as long.
type unreachable struct{ error }

func (e *unreachable) Unwrap() error { return e.error }

var (
	// errTaken says that another agent works on these accounts, or with this state.
	errTaken = errors.New("another agent has it")
	// errTooMany says that a number has more bindings than are taken for what they seem.
	errTooMany = errors.New("the number has more bindings than max_bindings")
	// errRows says that a statement touched more rows than it may. It was rolled back.
	errRows = errors.New("a statement would touch more rows than it may, and was rolled back")
)
