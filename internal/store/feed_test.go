package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/store"
)

func TestWhatReceiversSaidOfNumbersIsFoundByTheirLookups(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			dsn := e.dsn(t)
			s, db := open(t, dsn), raw(t, dsn)
			lookups := make([][]byte, 300)
			for i := range lookups {
				lookups[i] = []byte{0, 255, byte(i), byte(i >> 8)}
			}
			ask := func() (found [][]store.FeedSubject) {
				must(t, s.Read(t.Context(), func(tx *store.Tx) (err error) {
					found, err = tx.FeedSubjects(lookups)
					return err
				}))
				return found
			}
			if got := ask(); len(got) != 300 || slices.ContainsFunc(got, func(s []store.FeedSubject) bool { return s != nil }) {
				t.Errorf("where nobody said anything: %v", got)
			}
			say := func(lookup []byte, stream, added, since int) {
				_, err := db.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO stream_subjects (lookup, stream, added, since) VALUES ($1, %d, %d, %d)",
					stream, added, since), lookup)
				must(t, err)
			}
			say(lookups[3], 1, 1, 5)
			say(lookups[3], 2, 0, 6)
			say(lookups[299], 1, 1, 7)
			say([]byte{0, 255}, 9, 1, 1)
			want := make([][]store.FeedSubject, 300)
			want[3], want[299] = []store.FeedSubject{{Stream: 1, Added: true, Since: 5}, {Stream: 2, Since: 6}}, []store.FeedSubject{{Stream: 1, Added: true, Since: 7}}
			if got := ask(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("found %v", got)
			}
		})
	}
}
