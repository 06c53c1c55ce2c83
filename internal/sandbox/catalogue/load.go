package catalogue

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/huanxin-platform/huanxin"
)

type world struct {
	apps       []App
	categories []Category
	carriers   []Carrier
}

// load reads the three files. Anything doubtful is an error that names the file and the line.
func load(files fs.FS) (*world, error) {
	categories, err := read(files, "categories.csv", "id,name_zh,name_en", parseCategory)
	if err != nil {
		return nil, err
	}
	carriers, err := read(files, "carriers.csv", "id,name_zh,name_en,segments,mvno_segments", parseCarrier)
	if err != nil {
		return nil, err
	}
	apps, err := read(files, "apps.csv", "id,name_zh,name_en,category,class,kinds,weight,behaviour",
		func(row []string) (App, error) { return parseApp(row, categories) })
	if err != nil {
		return nil, err
	}
	return &world{apps, categories, carriers}, nil
}

// read parses a file of one row a thing, whose first three columns are id and names: each is well-formed and occurs once.
func read[T any](files fs.FS, name, header string, parse func(row []string) (T, error)) ([]T, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	rows := csv.NewReader(f)
	rows.Comment = '#'
	var out []T
	var seen [3]map[string]bool
	for i := range seen {
		seen[i] = map[string]bool{}
	}
	for first := true; ; first = false {
		row, err := rows.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if first {
			if got := strings.Join(row, ","); got != header {
				return nil, fmt.Errorf("%s: the header is %q, not %q", name, got, header)
			}
			continue
		}
		v, err := parse(row)
		if err = cmp.Or(checkNames(row, &seen), err); err != nil {
			line, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		out = append(out, v)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no row", name)
	}
	return out, nil
}

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,30}[a-z0-9]$`)

const maxName = 20 // characters

func checkNames(row []string, seen *[3]map[string]bool) error {
	if !idForm.MatchString(row[0]) {
		return fmt.Errorf("%q is no id", row[0])
	}
	for i, v := range row[:3] {
		if n := utf8.RuneCountInString(v); n == 0 || n > maxName || strings.TrimSpace(v) != v || !utf8.ValidString(v) {
			return fmt.Errorf("%q is no name of 1 to %d characters", v, maxName)
		}
		key := strings.ToLower(v)
		if seen[i][key] {
			return fmt.Errorf("%q stands there twice", v)
		}
		seen[i][key] = true
	}
	if !strings.ContainsFunc(row[1], func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
		return fmt.Errorf("%q is not Chinese", row[1])
	}
	if strings.ContainsFunc(row[2], func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("%q is not ASCII", row[2])
	}
	return nil
}

func parseCategory(row []string) (Category, error) {
	return Category{ID: row[0], NameZh: row[1], NameEn: row[2]}, nil
}

func parseCarrier(row []string) (Carrier, error) {
	c := Carrier{ID: row[0], NameZh: row[1], NameEn: row[2],
		Segments: strings.Fields(row[3]), MVNOSegments: strings.Fields(row[4])}
	if len(c.Segments) == 0 {
		return c, errors.New("a carrier has segments")
	}
	return c, cmp.Or(checkSegments(c.Segments, huanxin.KindMobile), checkSegments(c.MVNOSegments, huanxin.KindMVNO))
}

// checkSegments refuses prefixes whose 11-digit numbers are not of kind k in the number plan.
func checkSegments(segments []string, k huanxin.NumberKind) error {
	for _, s := range segments {
		if len(s) < 3 || len(s) > 5 {
			return fmt.Errorf("%q is no segment", s)
		}
		n, err := huanxin.ParseNumber("+86" + s + strings.Repeat("0", 11-len(s)))
		if err != nil || n.Kind() != k {
			return fmt.Errorf("%q is no segment of kind %s", s, k)
		}
	}
	return nil
}

func parseApp(row []string, categories []Category) (App, error) {
	a := App{ID: row[0], NameZh: row[1], NameEn: row[2], Category: row[3], Class: row[4], Behaviour: Behaviour(row[7])}
	if !slices.ContainsFunc(categories, func(c Category) bool { return c.ID == a.Category }) {
		return a, fmt.Errorf("no category %q", a.Category)
	}
	if !slices.Contains(classes, a.Class) {
		return a, fmt.Errorf("no class %q", a.Class)
	}
	if !slices.Contains(behaviours, a.Behaviour) || (a.Behaviour == Nobody) != (a.ID == Yours) {
		return a, fmt.Errorf("no behaviour %q of this app", a.Behaviour)
	}
	var err error
	if a.Kinds, err = parseKinds(row[5]); err != nil {
		return a, err
	}
	if a.Weight, err = strconv.Atoi(row[6]); err != nil || a.Weight < 1 || a.Weight > PerMille {
		return a, fmt.Errorf("weight %q is not 1 to %d", row[6], PerMille)
	}
	return a, nil
}

func parseKinds(s string) ([]huanxin.TaskKind, error) {
	var out []huanxin.TaskKind
	for _, word := range strings.Fields(s) {
		k, err := huanxin.ParseTaskKind(word)
		if err != nil || slices.Contains(out, k) {
			return nil, fmt.Errorf("kind %q is unknown or stands there twice", word)
		}
		out = append(out, k)
	}
	if len(out) == 0 || out[0] != huanxin.Unbind {
		return nil, errors.New("every app serves unbind, first")
	}
	return out, nil
}
