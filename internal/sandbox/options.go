package sandbox

// WithPeople gives the options of a world of so many numbers, where few are enough.
func (o Options) WithPeople(n int) Options {
	o.people = n
	return o
}
