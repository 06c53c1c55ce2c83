package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/huanxin-platform/huanxin/internal/auth"
)

const keygenForm = `client keygen (--out KEY.pem | --in KEY.pem) --jwks JWKS.json

Makes a client's key pair (EC P-256): KEY.pem stays with the client, mode 0600, and is what HUANXIN_CLIENT_KEY names; JWKS.json holds its
public part, for the hub's operator (huanxin client add ID --jwks JWKS.json). With --in the key is one that is there, such as one of
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256. Nothing that is there is written over. It needs no hub.`

func clientKeygen(_ context.Context, args []string) error {
	f := flag.NewFlagSet("client keygen", flag.ContinueOnError)
	out := f.String("out", "", "`FILE` for the new private key")
	in := f.String("in", "", "`FILE` with a private key that is there, in place of --out")
	jwks := f.String("jwks", "", "`FILE` for the public key set")
	if _, err := parse(f, args, 0, keygenForm); err != nil {
		return err
	}
	if (*out == "") == (*in == "") || *jwks == "" {
		return usageError(say("client keygen: 请给出 --out KEY.pem(或已有的 --in KEY.pem)和 --jwks JWKS.json", "client keygen: give --out KEY.pem, or --in KEY.pem that is there, and --jwks JWKS.json"))
	}
	key, private, err := clientKey(*in)
	if err != nil {
		return err
	}
	public, err := auth.PublicJWKS(key)
	if err != nil {
		return err
	}
	if *out != "" {
		if err := writeNew(*out, private, 0o600); err != nil {
			return err
		}
	}
	if err := writeNew(*jwks, append(public, '\n'), 0o644); err != nil {
		if *out != "" {
			err = errors.Join(err, os.Remove(*out))
		}
		return err
	}
	fmt.Printf("kid %s\n", key.KID)
	return nil
}

// clientKey reads a key, or makes one; private is what is to be kept of the latter.
func clientKey(path string) (key auth.SigningKey, private []byte, err error) {
	if path == "" {
		key = auth.NewSigningKey(time.Now())
		private, err = auth.MarshalClientKey(key)
		return key, private, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return key, nil, err
	}
	if key, err = auth.ParseClientKey(text); err != nil {
		return key, nil, fmt.Errorf("%s: %w", path, err)
	}
	return key.Named(), nil, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
