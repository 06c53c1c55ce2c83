// Package conformance plays the hub's side against a company: its agent, or a receiver of its own. It runs a real hub, seeds accounts
// whose numbers it has invented, makes requests about them, and judges by what reaches the hub and, where the company lets it look, by
// what became of the accounts.
//
// Between the hub and the company stands the front: it hears everything, keeps a delivery back until the world has changed, sends one
// again, forges one, and loses an answer. What it says of the company is a Report: what was expected, what was seen, what to mend and why.
//
// The accounts are the company's, of a database for tests: numbers on real segments are somebody's.
package conformance
