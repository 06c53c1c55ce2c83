package client

import (
	"context"
	"net/http"
)

// Self is an app as the hub's registry knows it.
type Self struct {
	ID        string   `json:"id"`
	NameZh    string   `json:"name_zh"`
	NameEn    string   `json:"name_en"`
	Class     string   `json:"class"`
	HighValue bool     `json:"high_value"`
	Kinds     []string `json:"kinds"`
	Domains   []string `json:"domains"`
	// Hold is the kill switch: while it is set, an app does nothing to accounts.
	Hold bool `json:"hold"`
}

// Self reads the app as the hub's registry knows it.
func (c *Client) Self(ctx context.Context) (s Self, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/apps/self", nil, nil, &s)
	return s, err
}
