// Package metering bounds and watches the checks ("has the holder of N changed since T?", DOMAIN.md §5) of each client.
//
// A Meter has four parts: a rate (Allow, Pace), a daily quota (Spend, Drain, Learn), a guard against halving (Seen) and a
// watch for enumeration (Observe, Suspicion). It is memory only: it starts no goroutine, reads no clock and writes nothing
// down. Its answers are facts; which error they become is the caller's affair. A "client" is whatever the caller limits
// under one name. For Seen and Observe that is best the party, and the same for both, since Suspicion joins them: two clients
// of one party would have twice the questions.
//
// How internal/core uses it, a call or a batch:
//
//  1. Allow, with the number of checks as cost: 429 with Retry-After where it says no. A streamed body calls Pace before
//     each chunk of Rate.Chunk checks and sleeps as long as it is told, until it is told zero.
//  2. Spend, with the number of checks: 429 with Retry-After. A stream may spend what remains, answer that, and end there.
//  3. Seen, before anything is looked up, so that a refusal tells nothing about the number: 429 for a single check, an
//     error in its line for one of many. A date goes in as the last instant of its day, today's as well.
//  4. The answers, from the index.
//  5. Observe, with the outcomes of those that were answered. It also counts the outcomes for the usage.
//
// One goroutine of each hub exchanges usage every few seconds: Drain; in one transaction, unless the store has applied this
// Drained before, add it up and read the totals of today; after the commit, Learn. When anything fails, or it is in doubt
// whether the commit happened, nothing more is to be done: the next Drain gives the same again (see Drained). A last exchange
// belongs to shutdown; what a hub that is killed had not drained is not counted.
//
// Figures are for /metrics, and Suspicion for the operator's console and alerts.
package metering
