package feed_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/internal/auth"
)

// BenchmarkSETs writes and signs SETs; BenchmarkSignatures only signs as many bytes with such keys. The first should reach 0.9 of the
// second.
func BenchmarkSETs(b *testing.B) {
	w := newWorld(b)
	for _, alg := range auth.HubAlgs {
		for _, name := range []string{"recycled", "requested"} {
			b.Run(alg+"/"+name, func(b *testing.B) {
				s, e, now := w.stream(1, alg), w.entries()[name], time.Now()
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, _, err := w.Write(now, s, e); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

func BenchmarkSignatures(b *testing.B) {
	message := make([]byte, 32)
	for _, alg := range auth.HubAlgs {
		k, err := auth.NewSigningKeyOf(alg, time.Now())
		must(b, err)
		b.Run(alg, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					input, hash := message, crypto.Hash(0)
					if _, ed := k.Private.(ed25519.PrivateKey); !ed {
						digest := sha256.Sum256(message)
						input, hash = digest[:], crypto.SHA256
					}
					if _, err := k.Private.Sign(nil, input, hash); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
