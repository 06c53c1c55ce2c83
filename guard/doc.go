// Package guard is what a company's login and registration call when somebody proves with an SMS code that a number is theirs: may the
// code alone open the account that is bound to it?
//
//	g, err := guard.Open(ctx, guard.Options{Hub: hub})
//	…
//	d := g.Decide(ctx, guard.Question{Number: number, BoundAt: huanxin.Exactly(account.BoundAt)})
//	switch d.Access {
//	case huanxin.Allow:  // sign in
//	case huanxin.Block:  // the account is a former holder's: offer a new one, and the former holder another way in
//	default:             // ask for another factor
//	}
//
// A Guard asks a hub, or a local replica of the number index that follows the hub in the background, and the hub where that cannot decide.
// Decide never fails and never waits longer than Options.Deadline: what is not known for certain is StepUp. It says why, and how old the
// answer is. No number reaches a log, an error or a metric.
package guard
