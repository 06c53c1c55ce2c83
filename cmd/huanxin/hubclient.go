package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	hubapi "github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// hubClient says which hub a command speaks to, and as whom: --hub, or the environment (API.md). Secrets come from the
// environment alone, where other users of the machine do not see them.
type hubClient struct {
	url string
	id  string
}

func (h *hubClient) add(f *flag.FlagSet) {
	f.StringVar(&h.url, "hub", "", "`URL` of the hub; default: $HUANXIN_URL. As whom: $HUANXIN_CLIENT_ID and $HUANXIN_CLIENT_SECRET or $HUANXIN_CLIENT_KEY (a private key file)")
}

// open makes a client. It does not connect yet.
func (h *hubClient) open() (*hubapi.Client, error) {
	if h.url == "" {
		h.url = os.Getenv("HUANXIN_URL")
	}
	h.url, h.id = strings.TrimSuffix(h.url, "/"), os.Getenv("HUANXIN_CLIENT_ID")
	o := hubapi.Options{URL: h.url, ID: h.id, Secret: os.Getenv("HUANXIN_CLIENT_SECRET")}
	keyFile := os.Getenv("HUANXIN_CLIENT_KEY")
	switch {
	case h.url == "":
		return nil, usageError(say("哪个枢纽?请给出 --hub URL,或设置 HUANXIN_URL", "which hub? Give --hub URL, or set HUANXIN_URL"))
	case h.id == "":
		return nil, usageError(say("以谁的身份?请设置 HUANXIN_CLIENT_ID", "as whom? Set HUANXIN_CLIENT_ID"))
	case (o.Secret == "") == (keyFile == ""):
		return nil, usageError(say("请设置 HUANXIN_CLIENT_SECRET 或 HUANXIN_CLIENT_KEY 之一", "set either HUANXIN_CLIENT_SECRET or HUANXIN_CLIENT_KEY"))
	}
	if keyFile != "" {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return nil, err
		}
		key, err := clientkey.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyFile, err)
		}
		o.Assert = func(audience string, now time.Time) (string, error) { return key.Assertion(h.id, audience, now) }
	}
	return hubapi.New(o), nil
}

// usageError explains a wrong use on standard error.
func usageError(text string) error {
	fmt.Fprintln(os.Stderr, "huanxin: "+text)
	return errUsage
}
