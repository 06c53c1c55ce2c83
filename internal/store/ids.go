package store

import "fmt"

// nextID gives the first of n new ids of a name. "task" ids are commit-ordered: whoever takes one keeps the others
// waiting until it commits, so that a reader who pages by them skips nothing.
func (t *Tx) nextID(name string, n int64) (int64, error) {
	q, args := "UPDATE counters SET value = value + $1 WHERE name = $2 RETURNING value", []any{n, name}
	if t.dialect.name() == "postgres" && name != "task" {
		if n != 1 {
			return 0, fmt.Errorf("sequence %s gives one id at a time", name)
		}
		q, args = "SELECT nextval('"+name+"_ids')", nil
	}
	var last int64
	found, err := t.queryRow(q, args, &last)
	if err == nil && !found {
		err = fmt.Errorf("no counter %s", name)
	}
	return last - n + 1, err
}
