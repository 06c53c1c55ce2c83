// Package storetest is the store's contract as tests: one suite, run on every engine.
package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Run runs the suite. open gives t a migrated database of its own and closes it when t ends.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	for _, group := range [][]sentence{transactionTests, eventTests, standingTests, logTests, feedTests, taskTests, stateTests, deliveryTests, clockTests,
		requestTests, streamTests, streamStateTests, idempotencyTests, holderTests, registryTests, replicaTests, concurrencyTests} {
		for _, s := range group {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.test(t, open(t))
			})
		}
	}
}

// sentence is one part of the contract.
type sentence struct {
	name string
	test func(t *testing.T, s *store.Store)
}

// batchSizes are those around which a statement over many rows is cut into pieces.
var batchSizes = []int{1, 3, 255, 256, 257, 5000}

// start is when the tests happen. The store keeps microseconds.
var start = time.Date(2026, 3, 2, 9, 0, 0, 123456000, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, s *store.Store, f func(tx *store.Tx) error) {
	t.Helper()
	must(t, s.Write(context.Background(), f))
}

func read(t testing.TB, s *store.Store, f func(tx *store.Tx) error) {
	t.Helper()
	must(t, s.Read(context.Background(), f))
}

// refused runs f, which the database must refuse by itself.
func refused(t testing.TB, s *store.Store, f func(tx *store.Tx) error) error {
	t.Helper()
	err := s.Write(context.Background(), f)
	if err == nil {
		t.Fatal("the database took it")
	}
	return err
}

// equal compares what prints the same and is the same.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("%s:\n got %.2000s\nwant %.2000s", what, g, w)
	}
}

// number gives the i-th number.
func number(i int) huanxin.Number { return huanxin.NumberOf(uint64(8613800000000 + i)) }

// together runs f n times at once and fails t with the first error.
func together(t testing.TB, n int, f func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	for _, err := range errs {
		must(t, err)
	}
}
