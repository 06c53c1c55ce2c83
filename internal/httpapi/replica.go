package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"iter"
	"net/http"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// replicaRoutes is what an app does about its replica of the number index.
func (a *api) replicaRoutes() []Route {
	numbers := func(path, summary, more string, codes []string, h Handler) Route {
		return Route{Method: "POST", Path: path, Tag: "Apps", Summary: summary,
			Description: "Any number of lines. Sending them again changes nothing. " + more,
			Scope:       huanxin.ScopeNumbersCheck, Party: huanxin.AppParty, Body: NDJSONOrCSV(numberOnly{}), Answer: JSON(receipt{}),
			Codes: append(codes, "no_contract", "number_kind_unsupported", "number_malformed", "overloaded"), Handler: h}
	}
	return []Route{
		numbers("/v1/replica/numbers", "Upload numbers for the app's replica",
			"A line is not compared with what was uploaded before: it is accepted again. At rest the list is sealed.",
			[]string{"too_many_numbers"}, a.change(a.hub.UploadReplicaNumbers)),
		numbers("/v1/replica/numbers/remove", "Take numbers out of the app's replica", "", nil, a.change(a.hub.RemoveReplicaNumbers)),
		{Method: "GET", Path: "/v1/replica", Tag: "Apps", Summary: "Pull a replica of the number index",
			Description: "What the app's contract in the registry grants: the numbers it uploaded, or all. The body is a snapshot of the index, " +
				"followed by its manifest, a JWT with the typ " + replica.Type + " that a key of /jwks.json signed, the JWT's length (8 bytes, little-endian) and the 8 bytes HXREPL1\\n. " +
				"A body that does not end so has broken off. It holds days and no times. Every pull is recorded. Accept-Encoding may name zstd or gzip.",
			Scope: huanxin.ScopeNumbersCheck, Party: huanxin.AppParty, Answer: &Content{Types: []string{replica.ContentType}},
			Codes: []string{"no_contract", "overloaded"}, Handler: a.pull},
	}
}

// change makes the handler of a body of numbers.
func (a *api) change(use func(context.Context, huanxin.Caller, iter.Seq2[core.ReplicaLine, error]) (core.Receipt, error)) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := readLines[numberOnly](r)
		if err != nil {
			return err
		}
		got, err := use(r.Context(), CallerFrom(r.Context()), each(body, func(l *Line[numberOnly]) core.ReplicaLine {
			out := core.ReplicaLine{Line: l.Line, Number: l.Value.Number.Number}
			if l.Err != nil {
				out.Err = l.Err
			}
			return out
		}))
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, receiptOf(got))
	}
}

// pull streams a replica. What goes wrong before the first byte is a problem document, after it the connection is cut: no
// part is ever taken for the whole, for the manifest comes last.
func (a *api) pull(w http.ResponseWriter, r *http.Request) error {
	ctx, who := r.Context(), CallerFrom(r.Context())
	if r.Method == http.MethodHead { // nothing is pulled, so nothing is built and recorded
		if err := a.hub.MayPull(ctx, who); err != nil {
			return err
		}
		w.Header().Set("Content-Type", replica.ContentType)
		return nil
	}
	p, err := a.hub.BeginPull(ctx, who, a.issuer)
	if err != nil {
		return err
	}
	out := &replicaWriter{w: w, encoding: lines.Encoding(r.Header.Get("Accept-Encoding")), digest: sha256.New()}
	err = a.send(r, p, out)
	if ended := p.End(ctx, err == nil); err == nil {
		err = ended
	}
	if err != nil && (out.failed != nil || ctx.Err() != nil) { // the other end is gone, which is its own affair
		panic(http.ErrAbortHandler)
	}
	return err
}

func (a *api) send(r *http.Request, p *core.Pull, out *replicaWriter) error {
	if err := p.WriteTo(r.Context(), out); err != nil {
		return err
	}
	p.Manifest.SHA256 = hex.EncodeToString(out.digest.Sum(nil))
	jws, err := a.ring.Sign(time.Now(), replica.Type, p.Manifest)
	if err != nil {
		return err
	}
	if _, err := out.Write(replica.AppendFooter(nil, jws)); err != nil {
		return err
	}
	return out.finish()
}

// replicaWriter is the body of an answer: it begins with the first byte that is written.
type replicaWriter struct {
	w        http.ResponseWriter
	encoding string
	digest   hash.Hash
	body     lines.Compressor // nil before the first byte
	failed   error            // of the connection
}

func (o *replicaWriter) Write(b []byte) (int, error) {
	if o.body == nil {
		o.begin()
	}
	_, _ = o.digest.Write(b)
	n, err := o.body.Write(b)
	if err != nil {
		o.failed = err
	}
	return n, err
}

func (o *replicaWriter) begin() {
	o.w.Header().Set("Content-Type", replica.ContentType)
	o.w.Header().Set("Vary", "Accept-Encoding")
	if o.encoding != "" {
		o.w.Header().Set("Content-Encoding", o.encoding)
	}
	o.body = lines.Compress(o.encoding, o.w)
}

func (o *replicaWriter) finish() error {
	if o.failed = o.body.Close(); o.failed == nil {
		o.failed = http.NewResponseController(o.w).Flush()
	}
	return o.failed
}
