package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/zstd"
)

// UploadReplicaNumbers uploads numbers (E.164) for the app's replica. Uploading one again changes nothing.
func (c *Client) UploadReplicaNumbers(ctx context.Context, numbers []string) (Receipt, error) {
	return c.UploadReplica(ctx, "text/csv", numberCSV(numbers))
}

// RemoveReplicaNumbers takes numbers (E.164) out of the app's replica.
func (c *Client) RemoveReplicaNumbers(ctx context.Context, numbers []string) (Receipt, error) {
	return c.RemoveReplica(ctx, "text/csv", numberCSV(numbers))
}

// UploadReplica is UploadReplicaNumbers with a body of any length in the given content type: application/x-ndjson or text/csv, with
// the one column or member number.
func (c *Client) UploadReplica(ctx context.Context, contentType string, body io.Reader) (Receipt, error) {
	return c.replicaNumbers(ctx, "/v1/replica/numbers", contentType, body)
}

// RemoveReplica is RemoveReplicaNumbers with a body as UploadReplica takes it.
func (c *Client) RemoveReplica(ctx context.Context, contentType string, body io.Reader) (Receipt, error) {
	return c.replicaNumbers(ctx, "/v1/replica/numbers/remove", contentType, body)
}

func (c *Client) replicaNumbers(ctx context.Context, path, contentType string, body io.Reader) (r Receipt, err error) {
	packed, w := io.Pipe()
	defer packed.Close() // the writer ends, whatever the hub did not read
	go func() { _ = w.CloseWithError(pack(w, body)) }()
	err = c.call(ctx, http.MethodPost, path, http.Header{"Content-Type": {contentType}, "Content-Encoding": {"zstd"}}, packed, &r)
	return r, err
}

// pack copies a body with zstd.
func pack(w io.Writer, body io.Reader) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, body); err != nil {
		return err // what follows is missing: no end is written
	}
	return z.Close()
}

func numberCSV(numbers []string) io.Reader {
	var b bytes.Buffer
	b.WriteString("number\n")
	for _, n := range numbers {
		b.WriteString(n + "\n")
	}
	return &b
}

// Replica pulls the replica that the app's contract grants, as it stands on the wire (API.md), unpacked. It proves nothing: `huanxin replica
// pull` does, and puts it into a file. A body that is cut off is an error of Read, or ends without its manifest.
func (c *Client) Replica(ctx context.Context) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, "/v1/replica", http.Header{"Accept-Encoding": {"zstd"}}, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	if resp.Header.Get("Content-Encoding") != "zstd" {
		return resp.Body, nil
	}
	z, err := zstd.NewReader(resp.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &unpacked{z, resp.Body}, nil
}

// unpacked is a body and the decoder in front of it.
type unpacked struct {
	*zstd.Decoder
	body io.ReadCloser
}

// Close closes both.
func (u *unpacked) Close() error {
	u.Decoder.Close()
	return u.body.Close()
}

// KeySet gives the hub's public keys as a JSON Web Key Set (RFC 7517).
func (c *Client) KeySet(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.o.URL+"/jwks.json", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && !json.Valid(text) {
		err = fmt.Errorf("/jwks.json is no JSON")
	}
	return text, err
}
