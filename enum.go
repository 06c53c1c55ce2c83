package huanxin

import (
	"strconv"
	"strings"
)

// enum ties the values of a small integer type to the words of the contract. Index 0 is no value.
type enum[T ~uint8] struct {
	what  string // the field's name, for errors
	names []string
}

func (e enum[T]) name(v T) string {
	if v == 0 || int(v) >= len(e.names) {
		return e.what + "(" + strconv.Itoa(int(v)) + ")"
	}
	return e.names[v]
}

func (e enum[T]) parse(s string) (T, error) {
	for i, n := range e.names {
		if i > 0 && n == s {
			return T(i), nil
		}
	}
	return 0, BadField(e.what, "unknown_"+e.what, "must be one of "+strings.Join(e.names[1:], ", "))
}
