package conformance

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

const day = 24 * time.Hour

// Account is one that the company is asked to have: an account of its own, tied to a number that was invented for the run.
type Account struct {
	Name   string // the account's id
	Number huanxin.Number
	// BoundAt is B of DOMAIN.md §6, or BoundDay where it is known to the day alone; neither: not known.
	BoundAt  time.Time
	BoundDay huanxin.Date
	// LastProof is V; zero: there never was one, or with ProofUnknown it is not known.
	LastProof    time.Time
	ProofUnknown bool
	SamePerson   huanxin.Tri
	// Class is one of high value; "": the app's own.
	Class string
}

// The facts that a company may not keep: Options.Without.
const (
	FactDay   = "bound_day" // there are no dates without a time of day
	FactProof = "last_proof"
	FactSame  = "same_person"
	FactClass = "class"
)

const localTime = "2006-01-02 15:04:05"

// Facts are those that Options.Without may name.
var Facts = []string{FactDay, FactProof, FactSame, FactClass}

// binding is what the company can know of an account, as the rules take it.
func (a *Account) binding(without map[string]bool) huanxin.Binding {
	b := huanxin.Binding{SamePerson: a.SamePerson}
	switch {
	case !a.BoundAt.IsZero():
		b.FirstBound = huanxin.Exactly(a.BoundAt)
	case a.BoundDay != huanxin.Date{}:
		b.FirstBound = huanxin.OnDay(a.BoundDay, huanxin.China)
	}
	switch {
	case a.ProofUnknown || without[FactProof]:
	case a.LastProof.IsZero():
		b.LastProof = huanxin.Never()
	default:
		b.LastProof = huanxin.Exactly(a.LastProof)
	}
	if without[FactSame] {
		b.SamePerson = huanxin.NotKnown
	}
	return b
}

func (a *Account) national() string { return strings.TrimPrefix(a.Number.E164(), "+86") }

// value is one column of an account: its text, or nothing.
type value struct {
	name string
	text string
	null bool
	bare bool // a number in SQL
}

// values gives everything that is told of an account, in the order of accounts.csv.
func (a *Account) values() []value {
	some := func(name, text string) value { return value{name: name, text: text, null: text == ""} }
	at := func(name string, t time.Time) []value {
		if t.IsZero() {
			return []value{some(name, ""), some(name+"_local", ""), some(name+"_utc", ""), {name: name + "_s", null: true, bare: true}, {name: name + "_ms", null: true, bare: true}}
		}
		return []value{some(name, t.In(huanxin.China).Format(time.RFC3339)), some(name+"_local", t.In(huanxin.China).Format(localTime)),
			some(name+"_utc", t.UTC().Format(localTime)), {name: name + "_s", text: fmt.Sprint(t.Unix()), bare: true}, {name: name + "_ms", text: fmt.Sprint(t.UnixMilli()), bare: true}}
	}
	out := []value{some("account", a.Name), some("number", a.Number.E164()), some("number_national", a.national())}
	out = append(out, at("bound_at", a.BoundAt)...)
	boundDay := ""
	if a.BoundDay != (huanxin.Date{}) {
		boundDay = a.BoundDay.String()
	}
	out = append(out, some("bound_day", boundDay))
	out = append(out, at("last_proof", a.LastProof)...)
	never := "0"
	if a.LastProof.IsZero() && !a.ProofUnknown {
		never = "1"
	}
	same := map[huanxin.Tri]string{huanxin.Yes: "yes", huanxin.No: "no"}[a.SamePerson]
	return append(out, value{name: "last_proof_never", text: never, bare: true}, some("same_person", same), some("class", a.Class))
}

// WriteCSV writes accounts with one line of names.
func WriteCSV(w io.Writer, accounts []*Account) error {
	out := csv.NewWriter(w)
	for i, a := range accounts {
		var names, row []string
		for _, v := range a.values() {
			names, row = append(names, v.name), append(row, v.text)
		}
		if i == 0 {
			if err := out.Write(names); err != nil {
				return err
			}
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// SQL gives the company's own statements for every account, with the values in the place of :names. They are of letters, digits, dashes
// and colons that were made here, so that quoting them is safe in every database.
func SQL(template string, accounts []*Account) (out []string, err error) {
	for _, a := range accounts {
		text, err := fill(template, a.values())
		if err != nil {
			return nil, err
		}
		out = append(out, Split(text)...)
	}
	return out, nil
}

// Split cuts a text at the semicolons outside of quotes.
func Split(text string) (out []string) {
	quote, start := byte(0), 0
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == ';':
			add(text[start:i])
			start = i + 1
		}
	}
	add(text[start:])
	return out
}

// fill puts values in the place of :names, outside of quotes.
func fill(template string, values []value) (string, error) {
	var out strings.Builder
	for i := 0; i < len(template); {
		c := template[i]
		switch {
		case c == '\'' || c == '"' || c == '`':
			end := strings.IndexByte(template[i+1:], c)
			if end < 0 {
				return "", huanxin.Errorf(huanxin.Invalid, "bad_statement", "a quote in the statement is not closed")
			}
			out.WriteString(template[i : i+end+2])
			i += end + 2
		case strings.HasPrefix(template[i:], "::"):
			out.WriteString("::")
			i += 2
		case c == ':' && i+1 < len(template) && isLetter(template[i+1]):
			end := i + 1
			for end < len(template) && (isLetter(template[end]) || '0' <= template[end] && template[end] <= '9') {
				end++
			}
			literal, err := literalOf(template[i+1:end], values)
			if err != nil {
				return "", err
			}
			out.WriteString(literal)
			i = end
		default:
			out.WriteByte(c)
			i++
		}
	}
	return out.String(), nil
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func literalOf(name string, values []value) (string, error) {
	for _, v := range values {
		switch {
		case v.name != name:
		case v.null:
			return "NULL", nil
		case v.bare:
			return v.text, nil
		default:
			return "'" + v.text + "'", nil
		}
	}
	return "", huanxin.Errorf(huanxin.Invalid, "bad_statement", "there is no value of the name :"+name)
}
