package agent

import (
	"strconv"
	"strings"
)

// placeholder is how a database wants its parameters.
type placeholder uint8

const (
	dollars   placeholder = iota + 1 // $1, $2, each as often as it is used (PostgreSQL, SQLite)
	questions                        // ?, ?, one an occurrence (MySQL)
)

// quoting is what a database has of quotes and comments beyond what all have.
type quoting struct {
	dollarQuotes bool // $tag$ … $tag$ and E'…' (PostgreSQL)
	nested       bool // /* /* */ */ (PostgreSQL)
	backticks    bool // `…` (MySQL, SQLite)
	brackets     bool // […] (SQLite)
	backslashes  bool // '…\'…' (MySQL)
	hashes       bool // # to the end of the line (MySQL)
	marks        placeholder
}

// prepared is a statement whose named parameters were replaced by the database's own, never by values.
type prepared struct {
	text string
	// params are the names in the order of the placeholders.
	params []string
	verb   string // its first word, in capitals
}

func (p *prepared) uses(names ...string) bool {
	for _, have := range p.params {
		for _, n := range names {
			if base, _ := cutUnit(have); have == n || base == n {
				return true
			}
		}
	}
	return false
}

// parseStatement replaces :name by the database's placeholders. Quoted text and comments stay as they are. A statement has named
// parameters only, of known names, and is one statement.
func parseStatement(text string, q quoting, known func(string) bool) (*prepared, error) {
	p := &statementParser{in: text, q: q, known: known, numbers: map[string]int{}}
	if err := p.run(); err != nil {
		return nil, err
	}
	if p.out.verb == "" {
		return nil, tell("there is no statement")
	}
	p.out.text = strings.TrimSpace(p.b.String())
	return &p.out, nil
}

type statementParser struct {
	in      string
	q       quoting
	known   func(string) bool
	numbers map[string]int // of parameters that were used before
	b       strings.Builder
	out     prepared
	ended   bool // by a semicolon
}

func (p *statementParser) run() error {
	if i := strings.IndexByte(p.in, 0); i >= 0 {
		return tell("line %d: a NUL character", p.line(i))
	}
	for i := 0; i < len(p.in); {
		end, comment, err := p.skip(i)
		if err != nil {
			return err
		}
		if end > i { // quoted text or a comment
			if comment {
				p.b.WriteByte(' ')
			} else if err := p.write(i, p.in[i:end]); err != nil {
				return err
			}
			i = end
			continue
		}
		if i, err = p.step(i); err != nil {
			return err
		}
	}
	return nil
}

// write puts a piece of the statement out.
func (p *statementParser) write(at int, text string) error {
	if p.ended && strings.TrimSpace(text) != "" {
		return tell("line %d: a second statement; write a list of statements instead", p.line(at))
	}
	p.b.WriteString(text)
	return nil
}

// step handles what is neither quoted nor a comment and gives where the next piece begins.
func (p *statementParser) step(i int) (int, error) {
	c := p.in[i]
	switch {
	case isWord(c):
		end := i
		for end < len(p.in) && (isWord(p.in[end]) || p.in[end] == '$' && p.q.marks == dollars) {
			end++
		}
		if p.out.verb == "" {
			p.out.verb = strings.ToUpper(p.in[i:end])
		}
		return end, p.write(i, p.in[i:end])
	case c == ';':
		p.ended = true
		return i + 1, nil
	case c == ':' && i+1 < len(p.in) && (p.in[i+1] == ':' || p.in[i+1] == '='):
		return i + 2, p.write(i, p.in[i:i+2])
	case c == ':' && i+1 < len(p.in) && isLetter(p.in[i+1]):
		end := i + 1
		for end < len(p.in) && isWord(p.in[end]) {
			end++
		}
		return end, p.parameter(i, p.in[i+1:end])
	case c == '?' && (p.q.marks == questions || p.q.brackets), c == '$' && p.q.marks == dollars && i+1 < len(p.in) && isWord(p.in[i+1]),
		c == '@' && p.q.brackets:
		return i, tell("line %d: %q is no parameter here: parameters are named, such as :number", p.line(i), c)
	}
	return i + 1, p.write(i, p.in[i:i+1])
}

func (p *statementParser) parameter(at int, name string) error {
	if !p.known(name) {
		return tell("line %d: there is no parameter :%s here", p.line(at), name)
	}
	n, again := p.numbers[name]
	if !again || p.q.marks == questions {
		p.out.params = append(p.out.params, name)
		n = len(p.out.params)
		p.numbers[name] = n
	}
	if p.q.marks == questions {
		return p.write(at, "?")
	}
	mark := "$"
	if p.q.brackets { // SQLite: $1 would be a name
		mark = "?"
	}
	return p.write(at, mark+strconv.Itoa(n))
}

// skip gives the end of the quoted text or comment that begins at i, or i.
func (p *statementParser) skip(i int) (end int, comment bool, err error) {
	rest := p.in[i:]
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "--"), c == '#' && p.q.hashes:
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return i + n, true, nil
		}
		return len(p.in), true, nil
	case strings.HasPrefix(rest, "/*"):
		if strings.HasPrefix(rest, "/*!") || strings.HasPrefix(rest, "/*M!") || strings.HasPrefix(rest, "/*+") {
			return i, false, tell("line %d: a comment that is no comment to the database", p.line(i))
		}
		end, err = p.blockComment(i)
		return end, true, err
	case c == '\'' || c == '"' || c == '`' && p.q.backticks:
		end, err = p.quote(i, c)
		return end, false, err
	case c == '[' && p.q.brackets:
		n := strings.IndexByte(rest, ']')
		if n < 0 {
			return i, false, tell("line %d: [ without ]", p.line(i))
		}
		return i + n + 1, false, nil
	case c == '$' && p.q.dollarQuotes && (i == 0 || !isWord(p.in[i-1])):
		end, err = p.dollarQuote(i)
		return end, false, err
	}
	return i, false, nil
}

func (p *statementParser) blockComment(i int) (int, error) {
	depth := 1
	for j := i + 2; j < len(p.in)-1; j++ {
		switch p.in[j : j+2] {
		case "*/":
			if depth--; depth == 0 {
				return j + 2, nil
			}
			j++
		case "/*":
			if p.q.nested {
				depth++
				j++
			}
		}
	}
	return i, tell("line %d: /* without */", p.line(i))
}

// quote finds the end of text in quotes, in which the quote itself stands twice.
func (p *statementParser) quote(i int, c byte) (int, error) {
	escapes := p.q.backslashes && c != '`' || // MySQL; in PostgreSQL E'…' alone
		p.q.dollarQuotes && c == '\'' && i > 0 && (p.in[i-1] == 'E' || p.in[i-1] == 'e') && (i == 1 || !isWord(p.in[i-2]))
	for j := i + 1; j < len(p.in); j++ {
		switch {
		case p.in[j] == '\\' && escapes:
			// Whether a backslash escapes depends on the server's mode in MySQL; what it stands before must then not matter.
			if p.q.backslashes && j+1 < len(p.in) && p.in[j+1] == c {
				return i, tell("line %d: a backslash before a quote: write the quote twice", p.line(j))
			}
			j++
		case p.in[j] == c:
			if j+1 < len(p.in) && p.in[j+1] == c {
				j++
				continue
			}
			return j + 1, nil
		}
	}
	return i, tell("line %d: a quote that is not closed", p.line(i))
}

// dollarQuote finds the end of $tag$ … $tag$; a $ that begins none stays.
func (p *statementParser) dollarQuote(i int) (int, error) {
	j := i + 1
	for j < len(p.in) && isWord(p.in[j]) {
		j++
	}
	if j >= len(p.in) || p.in[j] != '$' || j > i+1 && !isLetter(p.in[i+1]) {
		return i, nil
	}
	tag := p.in[i : j+1]
	n := strings.Index(p.in[j+1:], tag)
	if n < 0 {
		return i, tell("line %d: %s is not closed", p.line(i), tag)
	}
	return j + 1 + n + len(tag), nil
}

func (p *statementParser) line(i int) int { return 1 + strings.Count(p.in[:i], "\n") }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

func isWord(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c >= 0x80 }
