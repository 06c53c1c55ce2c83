package auth

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// How long a verified token is remembered, and how many are: 16,384, some 4 MB.
const (
	rememberFor   = 5 * time.Second
	cacheShards   = 16
	cachePerShard = 1024
)

// grant is what a verified token gives.
type grant struct {
	client  string
	scopes  huanxin.Scopes
	bound   huanxin.Bound
	exp     time.Time // skew included
	checked time.Time
	ring    *ringKeys // the keys it was verified with
}

// tokenCache remembers verified tokens by their SHA-256. Only good tokens get in, so nobody without one can fill
// it; when it is full, an arbitrary one goes. The zero tokenCache is empty.
type tokenCache struct {
	shards [cacheShards]struct {
		mu     sync.Mutex
		grants map[[sha256.Size]byte]grant
	}
}

func (c *tokenCache) get(key [sha256.Size]byte, ring *ringKeys, now time.Time) (grant, bool) {
	s := &c.shards[key[0]%cacheShards]
	s.mu.Lock()
	g, ok := s.grants[key]
	s.mu.Unlock()
	return g, ok && g.ring == ring && g.usable(now)
}

// usable is false too where the clock went back: then the token is judged anew.
func (g grant) usable(now time.Time) bool {
	age := now.Sub(g.checked)
	return age >= 0 && age < rememberFor && now.Before(g.exp)
}

func (c *tokenCache) put(key [sha256.Size]byte, g grant, now time.Time) {
	s := &c.shards[key[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grants == nil {
		s.grants = make(map[[sha256.Size]byte]grant)
	}
	if len(s.grants) >= cachePerShard {
		for k, old := range s.grants {
			if !old.usable(now) {
				delete(s.grants, k)
			}
		}
	}
	if len(s.grants) >= cachePerShard {
		for k := range s.grants {
			delete(s.grants, k)
			break
		}
	}
	s.grants[key] = g
}
