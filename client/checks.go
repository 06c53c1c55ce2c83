package client

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/huanxin-platform/huanxin"
)

// Check is one question: has the holder of the number changed since T?
type Check struct {
	Number string `json:"number"` // E.164
	Since  string `json:"since"`  // T: a date YYYY-MM-DD, or a date-time with an offset
}

// Checked is the answer to a Check: an outcome, or an error.
type Checked struct {
	Outcome string      `json:"outcome"` // UNCHANGED, CHANGED, NO_HOLDER or UNKNOWN, which is never no
	Reason  string      `json:"reason"`
	FreshAt *time.Time  `json:"fresh_at"` // until when the serving carrier has told everything
	Error   *CheckError `json:"error"`
}

// CheckError says why a check has no outcome.
type CheckError struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Check asks one question. It gives the position in the number log that the answer is true for. What the hub says of the question
// is an error, too.
func (c *Client) Check(ctx context.Context, number, since string) (asOf int64, answer Checked, err error) {
	asOf, answers, err := c.Checks(ctx, []Check{{number, since}})
	if err != nil {
		return 0, Checked{}, err
	}
	if e := answers[0].Error; e != nil {
		kind := huanxin.Invalid
		if e.Code == "too_many_times" || e.Code == "quota_exceeded" || e.Code == "rate_limited" {
			kind = huanxin.Limited
		}
		return asOf, answers[0], huanxin.Errorf(kind, e.Code, e.Detail)
	}
	return asOf, answers[0], nil
}

// Checks asks at most 10,000 questions. The answers come in their order; for more, see StreamChecks.
func (c *Client) Checks(ctx context.Context, checks []Check) (asOf int64, answers []Checked, err error) {
	body, err := asJSON(map[string][]Check{"checks": checks})
	if err != nil {
		return 0, nil, err
	}
	var out struct {
		AsOf    int64     `json:"as_of"`
		Results []Checked `json:"results"`
	}
	if err := c.callIn(ctx, form{4096 + 1024*int64(len(checks)), refusal}, http.MethodPost, "/v1/checks", jsonBody, body, &out); err != nil {
		return 0, nil, err
	}
	if len(out.Results) != len(checks) {
		return 0, nil, huanxin.Errorf(huanxin.Internal, "unexpected_answer", "the hub did not answer each check")
	}
	return out.AsOf, out.Results, nil
}

// CheckStream gives the answers of StreamChecks as they come. Close it.
type CheckStream struct {
	AsOf int64 // the position in the number log that the answers are at least true for
	io.Reader
	close func()
}

// Close ends the stream, also before its end.
func (s *CheckStream) Close() error {
	s.close()
	return nil
}

// StreamChecks asks any number of questions, as application/x-ndjson or text/csv with the members or columns number and since, and
// gives back the same lines in order, whatever else they bear, with outcome, reason and error added (in CSV the code alone). The answers
// come while the body is read: read them meanwhile. A stream that breaks off ends with an error other than io.EOF; the questions
// that were not answered may be asked again. With compress both ways are packed with zstd, which is worth it on the way to another machine.
func (c *Client) StreamChecks(ctx context.Context, contentType string, body io.Reader, compress bool) (*CheckStream, error) {
	header := http.Header{"Content-Type": {contentType}, "Accept-Encoding": {"identity"}}
	pack := func() {}
	if compress {
		header.Set("Accept-Encoding", "zstd")
		header.Set("Content-Encoding", "zstd")
		body, pack = packed(body)
	}
	resp, err := c.do(ctx, http.MethodPost, "/v1/checks", header, body)
	if err != nil {
		pack()
		return nil, err
	}
	end := func() { pack(); _ = resp.Body.Close() }
	if resp.StatusCode != http.StatusOK {
		defer end()
		return nil, refusal(resp)
	}
	s := &CheckStream{Reader: resp.Body, close: end}
	if s.AsOf, err = strconv.ParseInt(resp.Header.Get("Huanxin-As-Of"), 10, 64); err != nil {
		end()
		return nil, huanxin.Errorf(huanxin.Internal, "unexpected_answer", "the hub does not say which position its answers are true for")
	}
	if resp.Header.Get("Content-Encoding") == "zstd" {
		z, err := zstd.NewReader(resp.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			end()
			return nil, err
		}
		s.Reader, s.close = z, func() { z.Close(); end() }
	}
	return s, nil
}

// packed gives what packs a body while it is read, and what ends that early.
func packed(body io.Reader) (io.Reader, func()) {
	r, w := io.Pipe()
	go func() {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err == nil {
			if _, err = z.ReadFrom(body); err == nil {
				err = z.Close()
			}
		}
		_ = w.CloseWithError(err)
	}()
	return r, func() { _ = r.Close() }
}
