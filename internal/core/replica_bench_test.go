package core_test

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// scattered gives n numbers that lie anywhere on China's segments, in no order.
func scattered(n int) []huanxin.Number {
	segments := []uint64{135, 136, 137, 138, 139, 150, 151, 152, 157, 158, 159, 178, 182, 183, 184, 187, 188, 195, 198,
		130, 131, 132, 155, 156, 166, 175, 176, 185, 186, 196, 133, 153, 173, 177, 180, 181, 189, 190, 191, 193, 199}
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]huanxin.Number, n)
	for i := range out {
		out[i] = huanxin.NumberOf(86_000_0000_0000 + segments[r.IntN(len(segments))]*1e8 + r.Uint64N(1e8))
	}
	return out
}

// BenchmarkUploadedReplica makes the replica of a million uploaded numbers: read, unsealed, sorted, looked up, written, digested.
func BenchmarkUploadedReplica(b *testing.B) {
	w := newWorld(b, sqliteFile(b))
	w.grants("chat", huanxin.ReplicaUploaded)
	w.follows()
	const n = 1_000_000
	r := w.uploads("chat", scattered(n)...)
	if r.Accepted+r.Duplicates != n {
		b.Fatalf("%d accepted, %d refused", r.Accepted, r.RejectedTotal)
	}
	var size int64
	for b.Loop() {
		size = pullAway(b, w, "", false)
	}
	b.ReportMetric(float64(size)/float64(r.Accepted), "bytes/number")
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "numbers/s")
}

// BenchmarkUploadReplicaNumbers takes a million numbers, in no order, in one call.
func BenchmarkUploadReplicaNumbers(b *testing.B) {
	w := newWorld(b, sqliteFile(b))
	w.grants("chat", huanxin.ReplicaUploaded)
	numbers := scattered(1_000_000)
	for b.Loop() {
		w.uploads("chat", numbers...)
	}
	b.ReportMetric(float64(len(numbers)*b.N)/b.Elapsed().Seconds(), "numbers/s")
}

// BenchmarkWholeReplica writes and digests an index of 50 million numbers, packed in each way.
func BenchmarkWholeReplica(b *testing.B) {
	w := newWorld(b, sqliteFile(b))
	w.grants("chat", huanxin.ReplicaWhole)
	w.follows()
	x := index.New()
	defer func() { must(b, x.Close()) }()
	r := rand.New(rand.NewPCG(1, 2))
	changes := make([]index.Change, 0, 1<<16)
	for i := range uint64(50_000_000) {
		// Days since 2000 of numbers that change hands every few years, and one in eight without a holder.
		v := uint16(9700-min(r.ExpFloat64()*1500, 9600))<<2 | 1
		if r.IntN(8) == 0 {
			v = uint16(huanxin.MarkNoHolder)
		}
		if changes = append(changes, index.Change{Digits: 8613800000000 + i, Value: v, Carrier: 1}); len(changes) == cap(changes) {
			x.Apply(changes)
			changes = changes[:0]
		}
	}
	x.Apply(changes)
	defer w.AnswerFrom(x)()
	for _, encoding := range []string{"", "zstd", "gzip"} {
		b.Run("packed="+encoding, func(b *testing.B) {
			for b.Loop() {
				b.SetBytes(pullAway(b, w, encoding, true))
			}
		})
	}
}

// pullAway pulls a replica of chat's into nothing and gives the size of its snapshot.
func pullAway(b *testing.B, w *world, encoding string, report bool) int64 {
	b.Helper()
	ctx := context.Background()
	p, err := w.BeginPull(ctx, w.as("chat"), hubURL)
	must(b, err)
	var sent counter
	packer := lines.Compress(encoding, &sent)
	must(b, p.WriteTo(ctx, io.MultiWriter(sha256.New(), packer)))
	must(b, packer.Close())
	must(b, p.End(ctx, true))
	if report {
		b.ReportMetric(float64(sent)/float64(p.Manifest.Size), "sent/size")
	}
	return p.Manifest.Size
}

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
