package catalogue

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
)

// PerMille is what weights are parts of.
const PerMille = 1000

// Common apps are the 25 that most people have; of these a showcase number is bound at 14, as in the test that DOMAIN.md
// §1 reports.
const (
	commonApps    = 25
	commonInShow  = 14
	minRareInShow = 1
)

// ranked are the positions of all apps, the most common first.
var ranked = sync.OnceValue(func() []int {
	apps := shipped().apps
	order := make([]int, len(apps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(apps[b].Weight, apps[a].Weight) })
	return order
})

// Common gives the 25 most common apps, the most common first.
func Common() []App {
	out := make([]App, 0, commonApps)
	for _, i := range ranked()[:commonApps] {
		out = append(out, shipped().apps[i])
	}
	return out
}

// Draw picks the apps at which an ordinary used number is bound, each by its weight: about 4, sometimes none.
func Draw(r *rand.Rand) []App {
	var out []App
	for _, a := range shipped().apps {
		if r.IntN(PerMille) < a.Weight {
			out = append(out, a)
		}
	}
	return out
}

// DrawShowcase picks the apps at which a number for show is bound: 14 of the 25 common ones, by weight, and one or more
// of the others.
func DrawShowcase(r *rand.Rand) []App {
	out := pick(r, Common(), commonInShow)
	var rare []App
	for _, i := range ranked()[commonApps:] {
		rare = append(rare, shipped().apps[i])
	}
	return append(out, pick(r, rare, minRareInShow+r.IntN(4))...)
}

// pick takes n of the apps, without putting back, each with a chance by its weight.
func pick(r *rand.Rand, from []App, n int) []App {
	total := 0
	for _, a := range from {
		total += a.Weight
	}
	out := make([]App, 0, n)
	for range n {
		at, i := r.IntN(total), 0
		for at >= from[i].Weight {
			at -= from[i].Weight
			i++
		}
		total -= from[i].Weight
		out = append(out, from[i])
		from = slices.Delete(from, i, i+1)
	}
	return out
}
