package feed

// window is how many pushes to one receiver are under way at once: more where they succeed, fewer where they do not.
type window struct{ size, good int }

const (
	firstWindow = 2
	mostWindow  = 32
	windowStep  = 50 // so many successes make room for one more
)

func (w *window) success() {
	if w.good++; w.good == windowStep {
		w.good, w.size = 0, min(w.size+1, mostWindow)
	}
}

// trouble halves the window: the receiver is slow, or says that it has too much to do.
func (w *window) trouble() { w.good, w.size = 0, max(w.size/2, 1) }
