package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// watch follows the requests that the world made, as their carriers see them.
type watch struct {
	d  *demo
	mu sync.Mutex
	// list is the latest requests, oldest first; made counts all.
	list []*followed
	made int
}

// followed is one request. Its fields are guarded by the watch.
type followed struct {
	entry
	ID    string
	State string
	Tasks int
	Views map[string]int // tasks by view
	Ended time.Time
	again string // a task that may be asked again
	asked bool
	read  bool // since the world was started
}

const (
	followedMost = 120
	watchEvery   = 500 * time.Millisecond
)

// newWatch goes on with the requests of the journal.
func newWatch(d *demo) *watch {
	w := &watch{d: d}
	made := d.ledger.made()
	w.made = len(made)
	for _, e := range made[max(0, len(made)-followedMost):] {
		w.list = append(w.list, &followed{entry: e, ID: e.Request, State: huanxin.RequestSubmitted.String()})
		d.ledger.setBusy(e.No, true)
	}
	return w
}

func (w *watch) add(e entry, tasks int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.ContainsFunc(w.list, func(f *followed) bool { return f.ID == e.Request }) {
		return // a visitor sent it twice
	}
	w.made++
	w.list = append(w.list, &followed{entry: e, ID: e.Request, State: huanxin.RequestSubmitted.String(), Tasks: tasks,
		Views: map[string]int{"processing": tasks}})
	if n := len(w.list) - followedMost; n > 0 {
		w.list = slices.Delete(w.list, 0, n)
	}
}

// follow reads open requests again and again until ctx is done.
func (w *watch) follow(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		for _, f := range w.open() {
			w.read(ctx, f)
		}
		w.d.say.now(w.status())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// open gives the requests that have not ended, the newest last.
func (w *watch) open() (out []*followed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.list {
		if f.Ended.IsZero() {
			out = append(out, f)
		}
	}
	return out
}

func ended(state string) bool {
	switch state {
	case "SETTLED", "SETTLED_WITH_EXCEPTIONS", "CANCELLED", "ABORTED", "GONE":
		return true
	}
	return false
}

// read asks the carrier that serves the number now. A request that nobody may read any more has gone.
func (w *watch) read(ctx context.Context, f *followed) {
	carrier := f.Carrier
	if f.No >= 0 {
		carrier = w.d.ledger.carrierOf(f.No)
	}
	v, err := w.d.clients[carrierID(carrier)].Request(ctx, f.ID, "zh-CN")
	var e *huanxin.Error
	switch {
	case errors.As(err, &e) && e.Kind == huanxin.NotFound:
		v = client.Request{State: "GONE"}
	case err != nil:
		return // the hub is stopping, or busy: next time
	}
	w.mu.Lock()
	f.State, f.Views, f.again = v.State, map[string]int{}, ""
	f.Tasks = len(v.Tasks)
	for _, t := range v.Tasks {
		f.Views[t.View]++
		if t.View == "kept" || t.View == "expired" {
			f.again = t.ID
		}
	}
	over, watched := ended(f.State), f.read
	f.read = true
	if over {
		f.Ended = time.Now()
	}
	w.mu.Unlock()
	if over && f.No >= 0 {
		w.d.ledger.setBusy(f.No, false)
		if f.Shown && watched {
			w.announce(f)
		}
	}
}

// viewWord is a view in the words of the terminal and the start page.
type viewWord struct{ view, zh, en string }

// fixed reports whether a text is the view's own, in one of its languages.
func (w viewWord) fixed(text string) bool {
	for v := huanxin.ViewProcessing; v <= huanxin.ViewCancelled; v++ {
		if v.String() == w.view {
			return text == v.Text(true) || text == v.Text(false)
		}
	}
	return false
}

var viewWords = []viewWord{
	{"clean", "已清理", "clean"}, {"kept", "未解绑", "kept"}, {"action_required", "待机主确认", "for the holder"},
	{"restricted", "受限", "restricted"}, {"processing", "处理中", "processing"}, {"overdue", "超期", "overdue"},
	{"expired", "未答复", "never answered"}, {"cancelled", "已取消", "cancelled"},
}

func viewCounts(views map[string]int) string {
	var parts []string
	for _, w := range viewWords {
		if n := views[w.view]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s %d", w.zh, w.en, n))
		}
	}
	return strings.Join(parts, " · ")
}

// status is how the newest request for show stands.
func (w *watch) status() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range slices.Backward(w.list) {
		if f.Shown && f.Ended.IsZero() {
			day := int(time.Since(f.At) / w.d.hub.Hub.Durations().Day())
			final := f.Views["clean"] + f.Views["kept"] + f.Views["expired"] + f.Views["cancelled"]
			return fmt.Sprintf("第 %d 天 day %d: %d/%d 个应用有结果 apps done · %s", day, day, final, f.Tasks, viewCounts(f.Views))
		}
	}
	return ""
}

func (w *watch) announce(f *followed) {
	took := time.Since(f.At)
	days := float64(took) / float64(w.d.hub.Hub.Durations().Day())
	w.d.say.now("")
	w.d.say.line("%s  %d 个应用,%.0f 天(实际 %s) / %d apps in %.0f days (really %s): %s", f.State, f.Tasks, days, took.Round(time.Second),
		f.Tasks, days, took.Round(time.Second), viewCounts(f.Views))
}

// Figures are what the start page shows.
type Figures struct {
	Made   int // requests since the world began
	Open   int
	Views  map[string]int // tasks of the latest requests, by view
	Latest []Latest       // newest first
}

// Latest is a request on the start page.
type Latest struct {
	ID, Carrier, State string
	At                 time.Time
	Tasks              int
	Views              map[string]int
	Shown, Visitor     bool
}

func (w *watch) figures() Figures {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := Figures{Made: w.made, Views: map[string]int{}}
	for _, r := range slices.Backward(w.list) {
		if r.Ended.IsZero() {
			f.Open++
		}
		for v, n := range r.Views {
			f.Views[v] += n
		}
		if len(f.Latest) < 12 {
			f.Latest = append(f.Latest, Latest{ID: r.ID, Carrier: carrierID(r.Carrier), State: r.State, At: r.At.In(huanxin.China),
				Tasks: r.Tasks, Views: r.Views, Shown: r.Shown, Visitor: r.No < 0})
		}
	}
	return f
}
