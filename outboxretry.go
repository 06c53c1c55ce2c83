package huanxin

import (
	"hash/fnv"
	"strconv"
	"time"
)

// Pushes that fail are tried again after a second, then after twice as long each time, and for three days.
const (
	firstPushRetry = time.Second
	lastPushRetry  = 5 * time.Minute
	// PushFor is how long a SET is tried; then it is a dead letter.
	PushFor = 72 * time.Hour
)

// PushRetry gives how long to wait after so many failed attempts. The jitter, a quarter at most, keeps what failed together from
// coming back together; it depends on nothing but the SET and the attempt.
func PushRetry(attempts int, jti string) time.Duration {
	wait := lastPushRetry
	if n := max(attempts, 1) - 1; n < 9 {
		wait = min(firstPushRetry<<n, lastPushRetry)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(jti + "/" + strconv.Itoa(attempts)))
	jitter := wait / 4 / 1024 * time.Duration(h.Sum32()%1024)
	if wait == lastPushRetry {
		return wait - jitter
	}
	return min(wait+jitter, lastPushRetry)
}
