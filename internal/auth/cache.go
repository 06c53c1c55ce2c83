package auth

import (
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// How long a verified token is remembered, and how many are: 16,384, some 12 MB.
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

// tokenCache remembers verified tokens, as they are: a look-up by their SHA-256 took as long as all else that a remembered token
// costs, and they are in memory anyhow with every request. Only good tokens get in, so nobody without one can fill
// it; when it is full, an arbitrary one goes. The zero tokenCache is empty.
type tokenCache struct {
	shards [cacheShards]struct {
		mu     sync.Mutex
		grants map[string]grant
	}
}

func (c *tokenCache) get(token string, ring *ringKeys, now time.Time) (grant, bool) {
	s := &c.shards[shardOf(token)]
	s.mu.Lock()
	g, ok := s.grants[token]
	s.mu.Unlock()
	return g, ok && g.ring == ring && g.usable(now)
}

// usable is false too where the clock went back: then the token is judged anew.
func (g grant) usable(now time.Time) bool {
	age := now.Sub(g.checked)
	return age >= 0 && age < rememberFor && now.Before(g.exp)
}

// shardOf takes a token's last byte but one, which is of its signature; the last has few values.
func shardOf(token string) int {
	if len(token) < 2 {
		return 0
	}
	return int(token[len(token)-2]) % cacheShards
}

func (c *tokenCache) put(token string, g grant, now time.Time) {
	s := &c.shards[shardOf(token)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grants == nil {
		s.grants = make(map[string]grant)
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
	s.grants[strings.Clone(token)] = g
}
