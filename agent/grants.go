package agent

import (
	"errors"
	"slices"
	"strings"
)

// grant is one line of SHOW GRANTS, of MySQL or MariaDB.
type grant struct {
	// privileges by name, in capitals, and the columns of which they are; nil: all.
	privileges []privilege
	// schema and object are of what: a name, or * for all; a schema's name may hold LIKE's wildcards. routine: a function and the like.
	schema, object string
	routine        bool
	roles          []string // as they are written in a statement; nothing else is said of them here
	proxy          bool
	to             string // whom, as a role is written
	more           bool   // they may be given on: GRANT OPTION, ADMIN OPTION
}

type privilege struct {
	name    string
	columns []string
}

var errGrant = errors.New("a grant that cannot be read")

// grantWord is a word, a quoted name, or a sign of a grant.
type grantWord struct {
	text   string
	quoted bool
}

func (w grantWord) is(s string) bool { return !w.quoted && strings.EqualFold(w.text, s) }

// cutGrant cuts a grant into words. Names stand in backticks, or quotes of either kind.
func cutGrant(line string) (words []grantWord, err error) {
	for i := 0; i < len(line); {
		switch ch := line[i]; {
		case ch == ' ' || ch == '\n' || ch == '\t':
			i++
		case ch == '`' || ch == '\'' || ch == '"':
			var name strings.Builder
			for i++; ; i++ {
				if i >= len(line) {
					return nil, errGrant
				}
				if line[i] == ch {
					if i++; i < len(line) && line[i] == ch { // doubled
						name.WriteByte(ch)
						continue
					}
					break
				}
				name.WriteByte(line[i])
			}
			words = append(words, grantWord{name.String(), true})
		case strings.IndexByte("(),.@*", ch) >= 0:
			words, i = append(words, grantWord{text: string(ch)}), i+1
		default:
			n := strings.IndexAny(line[i:], " \n\t`'\"(),.@*")
			if n < 0 {
				n = len(line) - i
			}
			words, i = append(words, grantWord{text: line[i : i+n]}), i+n
		}
	}
	return words, nil
}

// parseGrant reads one line of SHOW GRANTS. ok is false for one that grants nothing: SET DEFAULT ROLE, and REVOKE, which takes off from
// what another line gives, so that leaving it out can only warn of too much.
func parseGrant(line string) (g grant, ok bool, err error) {
	words, err := cutGrant(line)
	if err != nil || len(words) == 0 {
		return g, false, errGrant
	}
	if words[0].is("SET") || words[0].is("REVOKE") {
		return g, false, nil
	}
	if !words[0].is("GRANT") {
		return g, false, errGrant
	}
	words = words[1:]
	on, to := at(words, "ON"), at(words, "TO")
	if to < 0 {
		return g, false, errGrant
	}
	rest := words[to+1:]
	if end := slices.IndexFunc(rest, func(w grantWord) bool { return !w.quoted && w.text != "@" }); end >= 0 {
		rest = rest[:end]
	}
	if all := readRoles(rest); len(all) == 1 {
		g.to = all[0]
	}
	rest = words[to+1:]
	if n := at(rest, "WITH"); n >= 0 {
		g.more = at(rest[n:], "GRANT") >= 0 || at(rest[n:], "ADMIN") >= 0
	}
	if on < 0 || on > to {
		g.roles = readRoles(words[:to])
		return g, len(g.roles) > 0, nil
	}
	if g.privileges, err = readPrivileges(words[:on]); err != nil {
		return g, false, err
	}
	g.proxy = len(g.privileges) == 1 && g.privileges[0].name == "PROXY"
	if g.proxy {
		return g, true, nil
	}
	return g, true, g.readObject(words[on+1 : to])
}

// at gives where a word stands that is not in parentheses.
func at(words []grantWord, s string) int {
	depth := 0
	for i, w := range words {
		switch {
		case w.is("("):
			depth++
		case w.is(")"):
			depth--
		case depth == 0 && w.is(s):
			return i
		}
	}
	return -1
}

func readPrivileges(words []grantWord) (out []privilege, err error) {
	var one privilege
	var name []string
	inside := false
	end := func() {
		if len(name) > 0 {
			one.name = strings.ToUpper(strings.Join(name, " "))
			out = append(out, one)
		}
		one, name = privilege{}, nil
	}
	for _, w := range words {
		switch {
		case w.is("("):
			inside, one.columns = true, []string{}
		case w.is(")"):
			inside = false
		case w.is(","):
			if !inside {
				end()
			}
		case inside:
			one.columns = append(one.columns, w.text)
		default:
			name = append(name, w.text)
		}
	}
	if end(); inside || len(out) == 0 {
		return nil, errGrant
	}
	return out, nil
}

// readObject reads *.*, schema.* or schema.object, perhaps with what sort of object it is.
func (g *grant) readObject(words []grantWord) error {
	for len(words) > 0 && !words[0].quoted && slices.Contains([]string{"TABLE", "FUNCTION", "PROCEDURE", "PACKAGE", "BODY"}, strings.ToUpper(words[0].text)) {
		g.routine = g.routine || !words[0].is("TABLE")
		words = words[1:]
	}
	if len(words) != 3 || !words[1].is(".") {
		return errGrant
	}
	g.schema, g.object = words[0].text, words[2].text
	return nil
}

// readRoles writes the roles of a grant as a statement names them: `role`, or `role`@`host` in MySQL.
func readRoles(words []grantWord) (out []string) {
	quote := func(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
	for len(words) > 0 {
		n := slices.IndexFunc(words, func(w grantWord) bool { return w.is(",") })
		if n < 0 {
			n = len(words)
		}
		switch one := words[:n]; {
		case n == 1:
			out = append(out, quote(one[0].text))
		case n == 3 && one[1].is("@"):
			out = append(out, quote(one[0].text)+"@"+quote(one[2].text))
		}
		words = words[min(n+1, len(words)):]
	}
	return out
}

// of reports whether a grant is of a database: its schema may hold the wildcards of LIKE, which a backslash takes away.
func (g *grant) of(database string) bool {
	if g.schema == "*" {
		return true
	}
	if g.object != "*" { // no wildcards where one object is named
		return strings.EqualFold(g.schema, database)
	}
	return like(strings.ToLower(g.schema), strings.ToLower(database))
}

func like(pattern, s string) bool {
	for i := 0; i < len(pattern); i++ {
		switch ch := pattern[i]; {
		case ch == '%':
			for j := 0; j <= len(s); j++ {
				if like(pattern[i+1:], s[j:]) {
					return true
				}
			}
			return false
		case s == "":
			return false
		case ch == '_':
		default:
			if ch == '\\' && i+1 < len(pattern) {
				i++
				ch = pattern[i]
			}
			if s[0] != ch {
				return false
			}
		}
		s = s[1:]
	}
	return s == ""
}
