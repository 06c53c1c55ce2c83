package storetest

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var requestTests = []sentence{
	{"requests are found by id, tenure and number", requestsFound},
	{"a tenure's end aborts its requests and their tasks, once", abortTenures},
	{"a cancelled request is not aborted", cancelledNotAborted},
	{"the requests of a running tenure move to another carrier", moveRequests},
}

var idempotencyTests = []sentence{
	{"what is remembered is recalled by the same client only", remembered},
	{"keys are forgotten by age, the oldest first", forgotten},
	{"a key is claimed by one transaction at a time", claims},
	{"what a new request is judged by comes with an id that is used once", intakes},
	{"of requests of one number that are taken in at once each sees those before it", intakesOfOneNumber},
}

func requestsFound(t *testing.T, s *store.Store) {
	want := request(5)
	for range 2 {
		write(t, s, func(tx *store.Tx) (err error) {
			want.ID, err = tx.InsertRequest(nil, want, 0, func(id huanxin.RequestID) []byte {
				want.Sealed = []byte{0, 255, byte(id)}
				return want.Sealed
			})
			return err
		})
	}
	write(t, s, func(tx *store.Tx) error {
		byID, found, err := tx.Request(want.ID)
		equal(t, "by id", []any{byID, found, err}, []any{want, true, nil})
		locked, found, err := tx.LockRequest(want.ID)
		equal(t, "locked", []any{locked, found, err}, []any{want, true, nil})
		ofTenure, err := tx.RequestsOfTenure(5)
		must(t, err)
		equal(t, "of the tenure, oldest first", []any{len(ofTenure), ofTenure[1]}, []any{2, want})
		ofNumber, err := tx.RequestsOfNumber(want.Lookup)
		must(t, err)
		equal(t, "of the number", ofNumber, ofTenure)
		for _, find := range []func(huanxin.RequestID) (huanxin.Request, bool, error){tx.Request, tx.LockRequest} {
			_, found, err = find(999)
			equal(t, "of no id", []any{found, err}, []any{false, nil})
		}
		none, err := tx.RequestsOfNumber([]byte("other"))
		equal(t, "of another number", len(none), 0)
		return err
	})
}

func abortTenures(t *testing.T, s *store.Store) {
	var first, again, other []huanxin.Task
	write(t, s, func(tx *store.Tx) error {
		first, other = makeTasks(t, tx, 2, 1), makeTasks(t, tx, 2, 2)
		must(t, tx.EndTasks([]int64{int64(first[0].Request)}, huanxin.TaskCancelled, start))
		again = makeTasks(t, tx, 3, 1)
		return nil
	})
	for _, want := range []int64{2, 0} {
		write(t, s, func(tx *store.Tx) error {
			n, err := tx.AbortTenures([]huanxin.TenureID{1, 77}, start.Add(time.Hour))
			equal(t, "aborted", n, want)
			return err
		})
	}
	write(t, s, func(tx *store.Tx) error {
		for _, k := range []huanxin.Task{first[0], again[0]} {
			r, _, err := tx.Request(k.Request)
			must(t, err)
			equal(t, "aborted at", r.AbortedAt, start.Add(time.Hour))
		}
		r, _, err := tx.Request(other[0].Request)
		equal(t, "the other", r.AbortedAt, time.Time{})
		none, err2 := tx.AbortTenures(nil, start)
		equal(t, "none", none, 0)
		must(t, err2)
		return err
	})
	equal(t, "its task", rowsOf(t, s, taskIDs(first))[first[0].ID].State, huanxin.TaskCancelled)
	row := rowsOf(t, s, taskIDs(again))[again[2].ID]
	equal(t, "the open one", []any{row.State, row.EndedAt, row.StepAt}, []any{huanxin.TaskAborted, start.Add(time.Hour), time.Time{}})
	equal(t, "another's", rowsOf(t, s, taskIDs(other))[other[0].ID].State, huanxin.TaskQueued)
}

func cancelledNotAborted(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error {
		tasks = makeTasks(t, tx, 1, 1)
		return tx.CancelRequest(tasks[0].Request, start)
	})
	write(t, s, func(tx *store.Tx) error {
		n, err := tx.AbortTenures([]huanxin.TenureID{1}, start.Add(time.Hour))
		equal(t, "aborted", n, 0)
		r, _, err2 := tx.Request(tasks[0].Request)
		equal(t, "ended", []any{r.CancelledAt, r.AbortedAt}, []any{start, time.Time{}})
		must(t, err2)
		return err
	})
}

func moveRequests(t *testing.T, s *store.Store) {
	var a, b []huanxin.Task
	write(t, s, func(tx *store.Tx) error {
		a, b = makeTasks(t, tx, 1, 1), makeTasks(t, tx, 1, 2)
		must(t, tx.MoveRequests(nil))
		return tx.MoveRequests(map[huanxin.TenureID]huanxin.PartyNo{1: 42, 99: 43})
	})
	read(t, s, func(tx *store.Tx) error {
		moved, _, err := tx.Request(a[0].Request)
		must(t, err)
		stays, _, err := tx.Request(b[0].Request)
		equal(t, "carriers", []any{moved.Carrier, moved.AskedBy, stays.Carrier}, []any{42, 8, 7})
		return err
	})
}

func remembered(t *testing.T, s *store.Store) {
	want := store.Remembered{Digest: []byte{0, 1, 255}, Result: 7, Refusal: `{"Code":"x"}`}
	write(t, s, func(tx *store.Tx) error { return tx.Remember("c", "k", want, start) })
	refused(t, s, func(tx *store.Tx) error { return tx.Remember("c", "k", want, start) })
	read(t, s, func(tx *store.Tx) error {
		got, found, err := tx.Recall("c", "k")
		must(t, err)
		if !found || !bytes.Equal(got.Digest, want.Digest) || got.Result != want.Result || got.Refusal != want.Refusal {
			t.Errorf("recalled %+v", got)
		}
		for _, other := range [][2]string{{"c", "j"}, {"d", "k"}, {"", ""}} {
			_, found, err = tx.Recall(other[0], other[1])
			equal(t, "another's", found, false)
		}
		return err
	})
}

func forgotten(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		for i := range 10 {
			must(t, tx.Remember("c", sprint(i), store.Remembered{Digest: []byte{1}}, start.Add(time.Duration(i)*time.Hour)))
		}
		return nil
	})
	for _, want := range []int64{2, 2, 1, 0} {
		write(t, s, func(tx *store.Tx) error {
			n, err := tx.ForgetKeys(start.Add(5*time.Hour), 2)
			equal(t, "forgotten", n, want)
			return err
		})
	}
	read(t, s, func(tx *store.Tx) error {
		_, found, err := tx.Recall("c", "5")
		equal(t, "one that is young enough", found, true)
		return err
	})
}

func claims(t *testing.T, s *store.Store) {
	in := func(tx *store.Tx, key string) store.Claim {
		c, err := tx.AskClaim("c", key)
		must(t, err)
		must(t, tx.Await())
		return *c
	}
	claim := func(key string) (c store.Claim) {
		write(t, s, func(tx *store.Tx) error { c = in(tx, key); return nil })
		return c
	}
	if s.Engine() == "sqlite" { // there is one writer
		equal(t, "alone", claim("k").Alone, true)
	} else {
		write(t, s, func(tx *store.Tx) error {
			equal(t, "the first", in(tx, "k").Alone, true)
			equal(t, "the first again", in(tx, "k").Alone, true)
			equal(t, "another transaction", claim("k").Alone, false)
			equal(t, "another key", claim("j").Alone, true)
			return nil
		})
	}
	equal(t, "once it is over", claim("k"), store.Claim{Alone: true})
	kept := store.Remembered{Digest: []byte{1}, Result: 7, Refusal: "{}"}
	write(t, s, func(tx *store.Tx) error { return tx.Remember("c", "k", kept, start) })
	equal(t, "once it is remembered", claim("k"), store.Claim{Alone: true, Found: true, Remembered: kept})
}

func intakes(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		first, err := tx.BeginBatch()
		must(t, err)
		return tx.AppendBatch(1, start, []store.Accepted{{Event: huanxin.Event{No: first, Carrier: 1, ID: "a", Number: number(1), Kind: huanxin.Activated, At: start}}},
			[]store.NumberRow{{Number: number(1), Standing: huanxin.Standing{Carrier: 7, Tenure: 5, StartedAt: start}, Head: first}})
	})
	var ids []huanxin.RequestID
	for i := range 3 {
		write(t, s, func(tx *store.Tx) error {
			in, err := tx.AskIntake(number(1))
			must(t, err)
			must(t, tx.Await())
			equal(t, "the standing", []any{in.Standing.Tenure, in.Standing.Carrier, in.Standing.StartedAt}, []any{5, 7, start})
			var earlier []huanxin.RequestID
			for _, r := range in.Earlier {
				earlier = append(earlier, r.ID)
			}
			equal(t, "earlier", earlier, ids)
			id, err := tx.InsertRequest(in, request(5), 0, func(huanxin.RequestID) []byte { return []byte{1} })
			must(t, err)
			other, err := tx.InsertRequest(in, request(6), 0, func(huanxin.RequestID) []byte { return []byte{1} })
			equal(t, "an id is used once", id == other, false)
			if i == 1 {
				other, found, err2 := tx.Request(id)
				equal(t, "by its id", []any{other.Tenure, found, err2}, []any{5, true, nil})
			}
			ids = append(ids, id)
			return err
		})
	}
	write(t, s, func(tx *store.Tx) error {
		in, err := tx.AskIntake(number(2))
		must(t, err)
		must(t, tx.Await())
		equal(t, "of a number never reported", []any{in.Standing, in.Earlier}, []any{huanxin.Standing{}, []huanxin.Request(nil)})
		return nil
	})
}

// intakesOfOneNumber has transactions take in a request of one number at once: each sees those before it.
func intakesOfOneNumber(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		first, err := tx.BeginBatch()
		must(t, err)
		return tx.AppendBatch(1, start, []store.Accepted{{Event: huanxin.Event{No: first, Carrier: 1, ID: "a", Number: number(1), Kind: huanxin.Activated, At: start}}},
			[]store.NumberRow{{Number: number(1), Standing: huanxin.Standing{Carrier: 7, Tenure: 5}, Head: first}})
	})
	const n = 8
	seen := make([]int, n)
	together(t, n, func(i int) error {
		return s.Write(t.Context(), func(tx *store.Tx) error {
			in, err := tx.AskIntake(number(1))
			if err == nil {
				err = tx.Await()
			}
			if err != nil {
				return err
			}
			seen[i] = len(in.Earlier)
			_, err = tx.InsertRequest(in, request(5), 0, func(huanxin.RequestID) []byte { return []byte{1} })
			return err
		})
	})
	slices.Sort(seen)
	equal(t, "how many each saw", seen, []int{0, 1, 2, 3, 4, 5, 6, 7})
}
