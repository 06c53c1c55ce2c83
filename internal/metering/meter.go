package metering

import (
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Config is how a Meter is made. The zero Config is good.
type Config struct {
	// Zone is that whose midnights divide the days of quotas and of the guard against halving. Default: huanxin.China.
	Zone *time.Location
	// HalvingBytes is the size of the guard against halving, rounded down to a power of two and up to 64 KiB. Default:
	// 64 MiB, which is 4.2 million numbers. It is allocated at the first check, and its pages are touched as they fill.
	HalvingBytes int
	// MaxClients is how many clients are remembered by the rate and by the watch, each in about 500 bytes and those of more
	// than a few checks in 4 KiB more. Default: 16,384. Beyond it those are forgotten that matter least.
	MaxClients int
	// NeverSeenLimit is the share of never-seen numbers from which a client is suspected to enumerate, above 0 to 1.
	// Default: NeverSeenLimit, which suits a hub that most carriers report to; before that, put it above what the metric
	// of honest apps shows.
	NeverSeenLimit float64
	// Exempt names numbers, by their digits, that neither Seen nor the shares of Suspicion count: the sandbox's. It is called
	// for every check, by many goroutines. Default: none.
	Exempt func(digits uint64) bool
}

// Meter bounds and watches checks. It is safe for concurrent use.
type Meter struct {
	zone    *time.Location
	exempt  func(uint64) bool
	rates   rates
	usage   usage
	halving halving
	watches watches
	counted counted
}

// counted are the figures that only grow.
type counted struct {
	rateRefused, paced, quotaRefused, halvingRefused, halvedNumbers, washed atomic.Int64
}

// New makes a Meter that knows nothing.
func New(c Config) *Meter {
	if c.Zone == nil {
		c.Zone = huanxin.China
	}
	if c.HalvingBytes == 0 {
		c.HalvingBytes = 64 << 20
	}
	if c.MaxClients <= 0 {
		c.MaxClients = 1 << 14
	}
	if !(c.NeverSeenLimit > 0) {
		c.NeverSeenLimit = NeverSeenLimit
	}
	m := &Meter{zone: c.Zone, exempt: c.Exempt}
	m.rates.init(c.MaxClients)
	m.usage.init()
	m.halving.init(c.HalvingBytes)
	m.watches.init(c.MaxClients, c.NeverSeenLimit)
	return m
}

// Figures are what a Meter did since it was made, and what it holds now. Those that end in Clients are of now.
type Figures struct {
	RateRefused    int64 // calls that Allow refused
	Paced          int64 // times that Pace told a stream to wait
	QuotaRefused   int64 // calls that Spend refused
	HalvingRefused int64 // checks that Seen refused
	HalvedNumbers  int64 // numbers of which a client asked MaxTimes different T's
	// Washed counts entries of the guard against halving that knew washedTimes T's or more and made room for others. Above a
	// few a day, the table is too small or somebody fills it on purpose.
	Washed             int64
	RateClients        int // clients with a debt to their rate
	WatchedClients     int
	EnumeratingClients int // see Suspicion
	HalvingClients     int
}

// Figures gives the figures of this moment. It visits every client: call it as often as metrics are read, not as checks come.
func (m *Meter) Figures(now time.Time) Figures {
	f := Figures{
		RateRefused: m.counted.rateRefused.Load(), Paced: m.counted.paced.Load(), QuotaRefused: m.counted.quotaRefused.Load(),
		HalvingRefused: m.counted.halvingRefused.Load(), HalvedNumbers: m.counted.halvedNumbers.Load(),
		Washed: m.counted.washed.Load(), RateClients: m.rates.count(now),
	}
	m.watches.each(now, func(s Suspicion) {
		f.WatchedClients++
		if s.Enumerating {
			f.EnumeratingClients++
		}
		if s.Halving {
			f.HalvingClients++
		}
	})
	return f
}
