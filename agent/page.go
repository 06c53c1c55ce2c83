package agent

import "net/http"

// Page is the live page.
func (a *Agent) Page() http.Handler { return http.NotFoundHandler() }
