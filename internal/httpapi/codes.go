package httpapi

import "github.com/huanxin-platform/huanxin"

// CodeDoc says what one code means.
type CodeDoc struct {
	Code    string
	Kind    huanxin.ErrorKind // of the answer that bears it; codes of fields and lines have the kind Invalid or Refused
	Meaning string
}

// Codes is every code that the API can give: as the code of a problem, of one of its errors, or of a refused line.
// Names do not change and do not change their meaning.
var Codes = []CodeDoc{
	// The form of a request.
	{"invalid", huanxin.Invalid, "One or more fields are wrong; errors says which."},
	{"malformed_json", huanxin.Invalid, "Not JSON, or something stands behind it."},
	{"unknown_member", huanxin.Invalid, "The object has a member that is not known here. Names are case-sensitive."},
	{"duplicate_member", huanxin.Invalid, "The object has a member twice."},
	{"wrong_type", huanxin.Invalid, "The value is of another JSON type, or out of its range."},
	{"invalid_utf8", huanxin.Invalid, "Not valid UTF-8."},
	{"required", huanxin.Invalid, "The member, column or parameter is missing, null or empty."},
	{"malformed_time", huanxin.Invalid, "Not an RFC 3339 time with an offset, from 1970 to 9999."},
	{"date_malformed", huanxin.Invalid, "Not a date in the form YYYY-MM-DD."},
	{"number_malformed", huanxin.Invalid, "Not a phone number in E.164 form."},
	{"not_allowed", huanxin.Invalid, "This field does not go with the others."},
	{"too_early", huanxin.Invalid, "The time is before there were mobile numbers."},
	{"too_long", huanxin.Invalid, "The text is longer than is taken."},
	{"too_many", huanxin.Invalid, "The list is longer than is taken."},
	{"bad_character", huanxin.Invalid, "The text has a character that is not allowed in it."},
	{"bad_link", huanxin.Invalid, "Not an https URL."},
	{"link_not_registered", huanxin.Refused, "The link's domain is not registered for this app."},
	{"out_of_range", huanxin.Invalid, "The value is outside of what is taken."},
	{"unknown_kind", huanxin.Invalid, "Not one of the kinds."},
	{"unknown_origin", huanxin.Invalid, "Not one of the origins."},
	{"unknown_outcome", huanxin.Refused, "Not one of the outcomes."},
	{"unknown_reason", huanxin.Refused, "Not one of the reasons, or not one of this outcome."},
	{"unknown_control", huanxin.Invalid, "Not one of the proofs of control."},
	{"unknown_identity", huanxin.Invalid, "Not one of the identity factors."},
	{"unknown_state", huanxin.Invalid, "Not one of the states."},
	{"unknown_app", huanxin.Refused, "No such app takes part."},
	{"kind_not_served", huanxin.Refused, "The app does not do tasks of this kind."},
	{"duplicate", huanxin.Refused, "The list names this twice."},
	{"unknown_task", huanxin.Invalid, "There is no such task to go on after."},
	{"unknown_step", huanxin.Invalid, "There is no such step to go on after."},
	{"unknown_case", huanxin.Invalid, "There is no such case to go on after."},
	{"malformed_subject", huanxin.Invalid, "Not a subject identifier of the form that its format asks for (RFC 9493)."},
	{"unknown_format", huanxin.Invalid, "Not a format of subject identifiers that is known here."},
	{"unknown_op", huanxin.Invalid, "Neither add nor remove."},
	{"too_many_subjects", huanxin.Forbidden, "The stream has as many subjects, added and removed, as it may."},
	{"unknown_parameter", huanxin.Invalid, "The query has a parameter that is not known here, or one twice."},
	{"malformed_query", huanxin.Invalid, "The query is not of the form name=value&…, percent-encoded."},
	{"body_too_large", huanxin.TooLarge, "The body is longer than is taken."},
	{"unsupported_media_type", huanxin.Unsupported, "The body's content type is not taken here."},
	{"unsupported_encoding", huanxin.Unsupported, "Content-Encoding may be gzip or zstd (with a window of at most 8 MB)."},
	{"broken_body", huanxin.Invalid, "The body broke off or its compression is damaged. Lines before that may have been accepted: send it again."},

	// Line-wise bodies.
	{"line_too_long", huanxin.Invalid, "The line has more than 64 KiB."},
	{"bad_quote", huanxin.Invalid, "CSV: a quote is at a wrong place or is not closed."},
	{"ragged_row", huanxin.Invalid, "CSV: the row has more or fewer columns than the header."},
	{"bad_header", huanxin.Invalid, "CSV: the header is wrong; nothing was read."},
	{"unknown_column", huanxin.Invalid, "CSV: the header names a column that is not known here."},
	{"duplicate_column", huanxin.Invalid, "CSV: the header names a column twice."},
	{"missing_column", huanxin.Invalid, "CSV: the header does not name this column."},

	// Who may.
	{"unauthenticated", huanxin.Unauthenticated, "A bearer token is needed."},
	{"invalid_token", huanxin.Unauthenticated, "The token is not valid, or not any more."},
	{"insufficient_scope", huanxin.Forbidden, "The token lacks the scope, or the client's party is of another kind."},
	{"no_contract", huanxin.Forbidden, "The registry holds no contract that grants this app a replica."},
	{"too_many_numbers", huanxin.Refused, "The app's list for its replica is as long as it may be; the rest of the body was not looked at."},
	{"not_found", huanxin.NotFound, "There is no such thing, or it belongs to someone else."},
	{"method_not_allowed", huanxin.Invalid, "The path does not have this method (status 405); Allow says which it has."},

	// Number events.
	{"out_of_order", huanxin.Refused, "The event does not fit the number's state, or a later event would no longer fit."},
	{"in_future", huanxin.Refused, "The time is more than 5 minutes ahead."},
	{"id_conflict", huanxin.Refused, "The id was used with other content."},
	{"cooling_too_short", huanxin.Refused, "The number is frozen longer after it was cancelled."},
	{"too_many_events", huanxin.Refused, "The number has too many events for a late one or a correction."},
	{"not_serving", huanxin.Refused, "The number was another carrier's at that time."},
	{"unknown_event", huanxin.Refused, "The event to correct is not known."},
	{"number_kind_unsupported", huanxin.Refused, "Numbers of this kind are not served."},

	// Requests, tasks and answers.
	{"ineligible", huanxin.Refused, "The request is not eligible; reason says why."},
	{"task_open", huanxin.Conflict, "An app of the request has an open task of this tenure and kind."},
	{"request_ended", huanxin.Conflict, "The request has ended."},
	{"not_released", huanxin.Conflict, "There is no result yet that could be asked about again."},
	{"asked_again", huanxin.Conflict, "It has been asked again already."},
	{"already_final", huanxin.Conflict, "The task has another final outcome."},
	{"no_effect", huanxin.Conflict, "The task was cancelled or aborted, or its tenure ended: the answer is recorded and has no effect."},
	{"wrong_digest", huanxin.Refused, "The digest is not the one that was given with the task."},
	{"wrong_tenure", huanxin.Refused, "The task is about another tenure."},
	{"idempotency_conflict", huanxin.Conflict, "The Idempotency-Key was used with another body."},
	{"in_flight", huanxin.Conflict, "A request with this Idempotency-Key is being worked on."},

	// Checks.
	{"rate_limited", huanxin.Limited, "The client asks faster than its contract allows; come back after Retry-After."},
	{"quota_exceeded", huanxin.Limited, "The client has used up the day's checks; come back after Retry-After."},
	{"too_many_times", huanxin.Limited, "The client has asked about this number with more than 8 different times in 30 days."},
	{"too_slow", huanxin.Invalid, "Nothing of a stream came for too long: what follows was not answered."},
	{"read_while_sending", huanxin.Invalid, "64 MB of answers wait to be read: what follows was not answered. Read while you send."},

	// The service.
	{"internal", huanxin.Internal, "A fault of ours; tell us the request id."},
	{"overloaded", huanxin.Unavailable, "Too many requests at once; try again after Retry-After."},
	{"timeout", huanxin.Unavailable, "It took too long; try again."},
}

var codeIndex = func() map[string]CodeDoc {
	m := make(map[string]CodeDoc, len(Codes))
	for _, c := range Codes {
		m[c.Code] = c
	}
	return m
}()
