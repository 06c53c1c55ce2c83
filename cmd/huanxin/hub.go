package main

import (
	"errors"
	"flag"
	"os"
	"strings"
	"time"

	hubclient "github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/auth"
)

// hubFlags are the flags of every command that speaks to a hub. Credentials come by the environment.
type hubFlags struct{ url string }

func (h *hubFlags) add(f *flag.FlagSet) {
	f.StringVar(&h.url, "hub", os.Getenv("HUANXIN_URL"), "`URL` of the hub (or HUANXIN_URL); HUANXIN_CLIENT_ID and HUANXIN_CLIENT_SECRET, or HUANXIN_CLIENT_KEY (a private key file), say who asks")
}

// hubClient gives the client of the hub that the flags and the environment name, and both their names.
func hubClient(flags *hubFlags) (c *hubclient.Client, target string, err error) {
	o := hubclient.Options{URL: strings.TrimRight(flags.url, "/"), ID: os.Getenv("HUANXIN_CLIENT_ID"), Secret: os.Getenv("HUANXIN_CLIENT_SECRET")}
	path := os.Getenv("HUANXIN_CLIENT_KEY")
	switch {
	case o.URL == "":
		return nil, "", errors.New("which hub? Give --hub URL or set HUANXIN_URL")
	case o.ID == "" || o.Secret == "" && path == "":
		return nil, "", errors.New("who asks? Set HUANXIN_CLIENT_ID and HUANXIN_CLIENT_SECRET or HUANXIN_CLIENT_KEY")
	}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, "", err
		}
		key, err := auth.ParseClientKey(text)
		if err != nil {
			return nil, "", err
		}
		o.Assert = func(audience string, now time.Time) (string, error) { return auth.Assertion(key, o.ID, audience, now) }
	}
	return hubclient.New(o), o.URL + " as " + o.ID, nil
}
