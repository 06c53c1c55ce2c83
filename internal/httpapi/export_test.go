package httpapi

// What the tests by CAMARA's schema look into.
var (
	ParseRecycling = parseRecycling
	UsualRecycling = usualRecycling
	AnyRecycling   = anyRecycling
)
