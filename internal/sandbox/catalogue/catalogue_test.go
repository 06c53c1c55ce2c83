package catalogue

import (
	"encoding/csv"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/huanxin-platform/huanxin"
)

func count(belongs func(App) bool) (n int) {
	for _, a := range Apps() {
		if belongs(a) {
			n++
		}
	}
	return n
}

func TestThereAre239AppsInCategoriesThatAreAllUsed(t *testing.T) {
	if n := len(Apps()); n != 239 {
		t.Errorf("%d apps, not 239", n)
	}
	if n := len(Categories()); n < 14 || n > 18 {
		t.Errorf("%d categories, not some 15", n)
	}
	for _, c := range Categories() {
		if n := count(func(a App) bool { return a.Category == c.ID }); n < 5 {
			t.Errorf("category %s has %d apps", c.ID, n)
		}
	}
	inOrder := slices.IsSortedFunc(Apps(), func(a, b App) int {
		at := func(x App) int {
			return slices.IndexFunc(Categories(), func(c Category) bool { return c.ID == x.Category })
		}
		if at(a) != at(b) {
			return at(a) - at(b)
		}
		return b.Weight - a.Weight
	})
	if !inOrder {
		t.Error("the apps do not stand by category and weight")
	}
}

func TestEveryClassHasApps(t *testing.T) {
	least := map[string]int{"payment": 5, "lending": 8, "government": 4, "mail": 4, "cloud_storage": 4, "messaging": 6}
	for _, c := range classes {
		if n := count(func(a App) bool { return a.Class == c }); n < max(least[c], 3) {
			t.Errorf("class %s has %d apps", c, n)
		}
		highValue := (&huanxin.Party{Class: c}).HighValue()
		if _, named := least[c]; named != highValue {
			t.Errorf("class %s: high value is %v in package huanxin", c, highValue)
		}
	}
}

func TestEveryBehaviourAndKindOccursAsOftenAsItShould(t *testing.T) {
	for b, want := range map[Behaviour][2]int{Quick: {50, 120}, Steady: {80, 150}, Slow: {20, 60}, Late: {5, 20},
		Dead: {1, 1}, Nonsense: {1, 1}, Nobody: {1, 1}} {
		if n := count(func(a App) bool { return a.Behaviour == b }); n < want[0] || n > want[1] {
			t.Errorf("%d apps are %s, not %d to %d", n, b, want[0], want[1])
		}
	}
	for k, want := range map[huanxin.TaskKind][2]int{huanxin.Unbind: {239, 239}, huanxin.StopContact: {10, 50},
		huanxin.ClearLabel: {3, 6}, huanxin.LiftRestriction: {8, 30}} {
		if n := count(func(a App) bool { return slices.Contains(a.Kinds, k) }); n < want[0] || n > want[1] {
			t.Errorf("%d apps serve %s, not %d to %d", n, k, want[0], want[1])
		}
	}
}

func TestTheVisitorsAppIsThere(t *testing.T) {
	i := slices.IndexFunc(Apps(), func(a App) bool { return a.ID == Yours })
	if i < 0 {
		t.Fatal("no app yours")
	}
	if a := Apps()[i]; a.NameZh != "你的应用" || a.NameEn != "Your app" || a.Behaviour != Nobody {
		t.Errorf("%+v", a)
	}
}

func TestAnIDIsReadFromTheEnglishName(t *testing.T) {
	for _, a := range Apps() {
		if want := strings.ReplaceAll(strings.ToLower(a.NameEn), " ", "-"); a.ID != want && a.ID != Yours {
			t.Errorf("%s is called %s", a.ID, a.NameEn)
		}
	}
}

func TestAUsedNumberHasAboutFourBindings(t *testing.T) {
	sum := 0
	for _, a := range Apps() {
		sum += a.Weight
	}
	if sum < 3800 || sum > 4200 {
		t.Errorf("the weights make %d bindings of 1,000 numbers", sum)
	}
	const numbers = 5000
	r, drawn := rand.New(rand.NewPCG(1, 2)), 0
	for range numbers {
		drawn += len(Draw(r))
	}
	if mean := float64(drawn) / numbers; mean < 3.8 || mean > 4.2 {
		t.Errorf("%.2f bindings a number were drawn", mean)
	}
}

func TestAShowcaseNumberIsBoundAt14Of25CommonApps(t *testing.T) {
	common := map[string]bool{}
	least := PerMille
	for _, a := range Common() {
		common[a.ID], least = true, min(least, a.Weight)
		if a.Behaviour == Dead || a.Behaviour == Nonsense || a.Behaviour == Nobody {
			t.Errorf("%s is common and %s", a.ID, a.Behaviour)
		}
	}
	if len(common) != 25 || count(func(a App) bool { return a.Weight >= least }) != 25 {
		t.Error("the common apps are not the 25 of most weight")
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		seen, in := map[string]bool{}, 0
		for _, a := range DrawShowcase(r) {
			seen[a.ID] = true
			if common[a.ID] {
				in++
			}
		}
		if rare := len(seen) - in; in != 14 || rare < 1 || rare > 4 {
			t.Fatalf("bound at %d common and %d other apps", in, rare)
		}
	}
}

func TestCarriersUseTheSegmentsOfTheNumberPlan(t *testing.T) {
	f, err := os.Open("../../../plans/cn.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	plan := csv.NewReader(f)
	plan.Comment = '#'
	rows, err := plan.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	allotted := map[string][]string{}
	for _, row := range rows[1:] {
		if row[1] == "11" && (row[2] == "mobile" || row[2] == "mvno") {
			key := strings.TrimPrefix(row[3], "China ") + " " + row[2]
			allotted[key] = append(allotted[key], row[0])
		}
	}
	ids := []string{}
	for _, c := range Carriers() {
		ids = append(ids, c.ID)
		name := strings.TrimPrefix(c.NameEn, "Demo ")
		if !slices.Equal(c.Segments, allotted[name+" mobile"]) || !slices.Equal(c.MVNOSegments, allotted[name+" mvno"]) {
			t.Errorf("%s has other segments than %s in the plan", c.ID, name)
		}
	}
	if want := []string{"cmcc-demo", "cucc-demo", "ctcc-demo", "cbn-demo"}; !slices.Equal(ids, want) {
		t.Errorf("carriers %v, not %v", ids, want)
	}
}

func TestWhatIsGivenAwayCanBeReordered(t *testing.T) {
	first := Apps()[0].ID
	slices.Reverse(Apps())
	slices.Reverse(Common())
	DrawShowcase(rand.New(rand.NewPCG(5, 6)))
	if Apps()[0].ID != first {
		t.Error("a caller changed the catalogue")
	}
}

func TestABadFileIsRefused(t *testing.T) {
	const good = "tingdu-pay,汀渡付,Tingdu Pay,payment,payment,unbind,120,quick"
	apps := func(rows ...string) string {
		return "id,name_zh,name_en,category,class,kinds,weight,behaviour\n" + strings.Join(rows, "\n") + "\n"
	}
	with := func(old, new string) string { return apps(strings.Replace(good, old, new, 1)) }
	carrier := func(row string) string { return "id,name_zh,name_en,segments,mvno_segments\n" + row + "\n" }
	for _, c := range []struct{ name, file, text, want string }{
		{"nothing", "apps.csv", "", "no row"},
		{"a header only", "apps.csv", apps(), "no row"},
		{"another header", "apps.csv", "id\n", "the header is"},
		{"a column too few", "apps.csv", with(",quick", ""), "wrong number of fields"},
		{"a bad id", "apps.csv", with("tingdu-pay", "Tingdu"), "is no id"},
		{"a short id", "apps.csv", with("tingdu-pay", "ti"), "is no id"},
		{"an underscore", "apps.csv", with("tingdu-pay", "tingdu_pay"), "is no id"},
		{"an id twice", "apps.csv", apps(good, good), `apps.csv:3: "tingdu-pay" stands there twice`},
		{"a name twice", "apps.csv", apps(good, strings.Replace(good, "tingdu-pay", "other", 1)), `"汀渡付" stands there twice`},
		{"no name", "apps.csv", with("汀渡付", ""), "is no name"},
		{"a long name", "apps.csv", with("Tingdu Pay", "Tingdu Payments for All"), "is no name"},
		{"blanks around", "apps.csv", with("Tingdu Pay", " Tingdu Pay"), "is no name"},
		{"invalid UTF-8", "apps.csv", with("汀渡付", "汀\xff"), "is no name"},
		{"no Chinese", "apps.csv", with("汀渡付", "Tingdu"), "is not Chinese"},
		{"no English", "apps.csv", with("Tingdu Pay", "汀渡"), "is not ASCII"},
		{"a category nobody knows", "apps.csv", with(",payment,", ",gardens,"), `no category "gardens"`},
		{"a class nobody knows", "apps.csv", with("payment,unbind", "bank,unbind"), `no class "bank"`},
		{"a kind nobody knows", "apps.csv", with("unbind", "unbind erase"), `kind "erase"`},
		{"a kind twice", "apps.csv", with("unbind", "unbind unbind"), "twice"},
		{"no unbind", "apps.csv", with("unbind", "stop_contact"), "every app serves unbind"},
		{"no weight", "apps.csv", with("120", "0"), `weight "0"`},
		{"too much weight", "apps.csv", with("120", "1001"), `weight "1001"`},
		{"a behaviour nobody knows", "apps.csv", with("quick", "eager"), `no behaviour "eager"`},
		{"another app for nobody", "apps.csv", with("quick", "nobody"), `no behaviour "nobody"`},
		{"a visitor's app that is worked", "apps.csv", with("tingdu-pay", "yours"), `no behaviour "quick"`},
		{"an IoT segment", "carriers.csv", carrier("cmcc-demo,演示移动,Demo Mobile,148,"), `"148" is no segment of kind mobile`},
		{"an MVNO's segment as one's own", "carriers.csv", carrier("cmcc-demo,演示移动,Demo Mobile,165,"), `"165"`},
		{"no segment", "carriers.csv", carrier("cmcc-demo,演示移动,Demo Mobile,,"), "a carrier has segments"},
		{"a word for a segment", "carriers.csv", carrier("cmcc-demo,演示移动,Demo Mobile,13x,"), `"13x"`},
		{"a category twice", "categories.csv", "id,name_zh,name_en\npay,支付,Pay\npay,支付,Pay\n", "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(shippedBut(t, c.file, c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), c.file) {
				t.Errorf("error %v, want %s: … %s", err, c.file, c.want)
			}
		})
	}
	if _, err := load(shippedBut(t, "apps.csv", apps(good))); err != nil {
		t.Errorf("the row that the cases spoil: %v", err)
	}
	if _, err := load(fstest.MapFS{}); err == nil {
		t.Error("no file at all was accepted")
	}
}

// shippedBut gives the shipped files with one replaced.
func shippedBut(t *testing.T, name, text string) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	for _, n := range []string{"apps.csv", "categories.csv", "carriers.csv"} {
		b, err := files.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[n] = &fstest.MapFile{Data: b}
	}
	out[name] = &fstest.MapFile{Data: []byte(text)}
	return out
}
