package guard

import (
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Question is what is known of an account that somebody is about to open with a code sent to its number, or of a number that is about to
// be bound to a new account.
type Question struct {
	Number huanxin.Number
	// BoundAt is when the number was bound to the account. Unknown, it is StepUp.
	BoundAt huanxin.Moment
	// ConfirmedAt, if it is known, is when the app last made sure of the person by something other than the number in the same session
	// in which they had entered a code that was sent to it: a step up that succeeded. It counts as if the number had been bound then.
	ConfirmedAt huanxin.Moment
	// LastProof, if it is known, is the last time at which somebody proved that the account is theirs by anything but a code or call to this
	// number: V of DOMAIN.md §6, such as a sign-in by password. The former holder can do that too, so that it never allows; it
	// turns a Block into StepUp where it is later than the change of holder.
	LastProof huanxin.Moment
}

// ParseMoment reads a date (YYYY-MM-DD), which is the whole of that day in a zone, or a date-time with an offset (RFC 3339). The empty
// string is an unknown moment, and so is a time before there were mobile numbers. The error is Invalid with the code malformed_time for the
// named field and never repeats the input.
func ParseMoment(field, text string, zone *time.Location) (huanxin.Moment, error) {
	if text == "" {
		return huanxin.Moment{}, nil
	}
	since, err := huanxin.ParseSince(text)
	if err != nil {
		return huanxin.Moment{}, huanxin.BadField(field, "malformed_time",
			"a date such as 2024-01-31, or a date-time with an offset such as 2024-01-31T10:00:00+08:00")
	}
	if since.Exact() {
		return huanxin.Exactly(since.At(&huanxin.Present{})), nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return huanxin.Moment{}, err
	}
	return huanxin.OnDay(huanxin.DateOf(day, time.UTC), zone), nil
}
