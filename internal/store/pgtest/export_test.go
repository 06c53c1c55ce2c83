package pgtest

var (
	Require  = require
	Binaries = binaries
)
