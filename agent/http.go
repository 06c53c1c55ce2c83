package agent

import (
	"errors"
	"time"
)

type connectorError struct{ text string }

func (e *connectorError) Error() string { return e.text }

func openHTTP(cfg *HTTPConfig, key *clientKey, client string, zone *time.Location, timeout time.Duration) (connector, error) {
	return nil, errors.New("not yet")
}
