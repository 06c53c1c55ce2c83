package server

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much may be allocated, in percent of what lives, until garbage is collected. Little lives in a hub (some
// tens of megabytes), so that Go's 100 would have it collect many times a second under load: a tenth of its work. This costs
// a few hundred megabytes at most.
const gcPercent = 400

// CollectLess sets the garbage collector of this process for a hub that has it to itself, unless GOGC is set.
func CollectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
