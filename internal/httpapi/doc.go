// Package httpapi is the hub's HTTP API: one route table, and around it what every route shares.
//
// A route is one row of a []Route: what is served and, from the same words, what is documented. Mux serves
// the rows, Front stands before everything on a listener, OpenAPI and the page at /docs/api tell of them.
// Handlers return errors; problem.go turns them into problem documents in one place. A wire type is a struct whose
// json, doc and enum tags are read by the decoder, the CSV reader and the documents alike.
//
// No phone number reaches a log, a metric, a URL or an error: what comes from outside is not repeated.
package httpapi
