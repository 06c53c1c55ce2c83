package huanxin

import (
	"net/url"
	"slices"
	"strings"
)

// subjectFormats are the formats of RFC 9493 §3.2 and SSF 1.0 §3.5 whose members are strings, with what is asked of each. Those of
// aliases, ip-addresses and complex are lists and objects.
var subjectFormats = map[string][]struct {
	member string
	well   func(string) bool
}{
	"account":           {{"uri", hasScheme("acct")}},
	"email":             {{"email", isAddress}},
	"iss_sub":           {{"iss", isThere}, {"sub", isThere}},
	"opaque":            {{"id", isThere}},
	"phone_number":      {{"phone_number", isPhone}},
	"did":               {{"url", hasScheme("did")}},
	"uri":               {{"uri", hasScheme("")}},
	"jwt_id":            {{"iss", isThere}, {"jti", isThere}},
	"saml_assertion_id": {{"issuer", isThere}, {"assertion_id", isThere}},
}

func isThere(s string) bool { return s != "" }

func isAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1
}

// isPhone reports whether a text is of the form +[1-9][0-9]{3,14}.
func isPhone(s string) bool {
	return len(s) >= 5 && len(s) <= 16 && s[0] == '+' && s[1] != '0' && strings.Trim(s[1:], "0123456789") == ""
}

// hasScheme makes a test of a URI: of a scheme, or of any.
func hasScheme(scheme string) func(string) bool {
	return func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && u.Scheme != "" && len(s) > len(u.Scheme)+1 && (scheme == "" || u.Scheme == scheme)
	}
}

// SubjectNumber reads a subject identifier, a JSON object as encoding/json gives it, and gives the number if it is one of a phone number
// (RFC 9493 §3.2.5). Any other that is well-formed is none of ours: the number is zero. The error is Invalid with the code unknown_format or
// malformed_subject, or number_malformed, and never repeats the input.
func SubjectNumber(subject map[string]any) (Number, error) {
	format, _ := subject["format"].(string)
	if format == "" {
		return Number{}, malformedSubject("a subject has a format, a string (RFC 9493 §3)")
	}
	if err := checkSubject(format, subject, true); err != nil {
		return Number{}, err
	}
	if format != "phone_number" {
		return Number{}, nil
	}
	n, err := ParseNumber(subject["phone_number"].(string))
	if err != nil { // well-formed, but too short for any that there is
		return Number{}, nil
	}
	return n, nil
}

func malformedSubject(why string) error { return BadField("subject", "malformed_subject", why) }

func unknownFormat() error {
	return BadField("subject.format", "unknown_format", "is no format of RFC 9493 or SSF 1.0; that of a phone number is phone_number")
}

// checkSubject judges a subject of a format. Only one that is not part of another (outer) may be made of others.
func checkSubject(format string, subject map[string]any, outer bool) error {
	if members, ok := subjectFormats[format]; ok {
		for _, m := range members {
			v, _ := subject[m.member].(string)
			switch {
			case m.well(v):
			case format == "phone_number":
				return BadField("subject.phone_number", "number_malformed", "is a plus sign and 4 to 15 digits, the first not 0, and nothing else")
			default:
				return malformedSubject("its member " + m.member + " is missing or not of the form that its format asks for")
			}
		}
		return nil
	}
	switch {
	case format == "ip-addresses":
		return checkAddresses(subject["ip-addresses"])
	case format == "aliases" && outer:
		return checkAliases(subject["identifiers"])
	case format == "complex" && outer:
		return checkComplex(subject)
	case format == "aliases", format == "complex":
		return malformedSubject("a subject of this format is no part of another")
	}
	return unknownFormat()
}

func checkAddresses(v any) error {
	list, _ := v.([]any)
	if len(list) == 0 || slices.ContainsFunc(list, func(v any) bool {
		s, _ := v.(string)
		return !strings.ContainsAny(s, ".:") || strings.Trim(s, "0123456789abcdefABCDEF.:") != "" // as far as it matters here
	}) {
		return malformedSubject("ip-addresses is a list of IP addresses")
	}
	return nil
}

// checkAliases judges the list of an aliases subject, which holds no further aliases (RFC 9493 §3.2.8).
func checkAliases(v any) error {
	list, _ := v.([]any)
	if len(list) == 0 {
		return malformedSubject("identifiers is a list of subjects")
	}
	for _, v := range list {
		if err := checkPart(v); err != nil {
			return err
		}
	}
	return nil
}

// checkComplex judges a complex subject: beside its format it has simple subjects, by whatever name (SSF 1.0 §3.3).
func checkComplex(subject map[string]any) error {
	if len(subject) < 2 {
		return malformedSubject("a complex subject has at least one subject in it")
	}
	for name, v := range subject {
		if name == "format" {
			continue
		}
		if inner, ok := v.(map[string]any); ok && inner["format"] == "aliases" {
			if err := checkAliases(inner["identifiers"]); err != nil {
				return err
			}
		} else if err := checkPart(v); err != nil {
			return err
		}
	}
	return nil
}

func checkPart(v any) error {
	part, ok := v.(map[string]any)
	if !ok {
		return malformedSubject("a part of it is no subject")
	}
	format, ok := part["format"].(string)
	if !ok {
		return malformedSubject("a part of it has no format")
	}
	return checkSubject(format, part, false)
}
