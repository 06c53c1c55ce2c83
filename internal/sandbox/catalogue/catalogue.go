// Package catalogue is what the demo world is made of: invented internet apps, their categories and the carriers, as
// data, and a generator of invented people. No app, company or person in it is real.
package catalogue

import (
	"embed"
	"slices"
	"sync"

	"github.com/huanxin-platform/huanxin"
)

// Yours is the id of the app that is worked by nobody: it is for the visitor.
const Yours = "yours"

// App is an internet app of the demo world.
type App struct {
	ID       string // [a-z0-9-]{3,32}
	NameZh   string
	NameEn   string
	Category string // a Category's ID
	Class    string // one of classes; the high-value ones are those of huanxin.Party
	// Kinds of task that the app serves: always huanxin.Unbind, first.
	Kinds []huanxin.TaskKind
	// Weight is how many of 1,000 used numbers have an account here.
	Weight    int
	Behaviour Behaviour
}

// Domain is the app's registered domain, on which its links are. Nobody can register it (RFC 6761).
func (a App) Domain() string { return a.ID + ".example" }

// classes of apps: those of high value, then the others.
var classes = []string{"payment", "lending", "cloud_storage", "mail", "messaging", "government",
	"social", "shopping", "food", "travel", "video", "music", "games", "news", "education", "health", "property", "jobs", "tools"}

// Behaviour is how an app answers its tasks.
type Behaviour string

// The behaviours.
const (
	Quick    Behaviour = "quick"    // minutes after delivery
	Steady   Behaviour = "steady"   // in the first days
	Slow     Behaviour = "slow"     // on the last days before the answer is due
	Late     Behaviour = "late"     // after it was due
	Dead     Behaviour = "dead"     // never works anything: one app
	Nonsense Behaviour = "nonsense" // sends malformed and contradictory answers: one app
	Nobody   Behaviour = "nobody"   // nobody works it: Yours
)

var behaviours = []Behaviour{Quick, Steady, Slow, Late, Dead, Nonsense, Nobody}

// Category is a group of apps for people to find their way.
type Category struct {
	ID     string
	NameZh string
	NameEn string
}

// Carrier is a carrier of the demo world, with the real prefixes, after +86, that its numbers are made of.
type Carrier struct {
	ID           string
	NameZh       string
	NameEn       string
	Segments     []string
	MVNOSegments []string // of virtual operators on its network; may be empty
}

//go:embed *.csv
var files embed.FS

var shipped = sync.OnceValue(func() *world {
	w, err := load(files)
	if err != nil {
		panic("catalogue: " + err.Error())
	}
	return w
})

// Apps gives all apps, by category and within it the most common first.
func Apps() []App { return slices.Clone(shipped().apps) }

// Categories gives the categories in the order in which they are shown.
func Categories() []Category { return slices.Clone(shipped().categories) }

// Carriers gives the carriers.
func Carriers() []Carrier { return slices.Clone(shipped().carriers) }
