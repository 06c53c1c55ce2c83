package lines

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/huanxin-platform/huanxin"
)

// maxWindow is the memory that a zstd body may ask for, and what RFC 9659 allows for HTTP.
const maxWindow = 8 << 20

// Decompress undoes a Content-Encoding: gzip, x-gzip or zstd; "" and identity are r itself. Anything else,
// and two encodings on top of each other, is Unsupported with the code unsupported_encoding.
//
// How much comes out is not limited here: a few kilobytes may become gigabytes. The consumer is safe
// by streaming, as the readers of this package do, or must limit what it keeps. Only zstd's window,
// which the sender chooses, is capped at 8 MB.
//
// Errors are refusals, when reading too: damage, and an input that ends early or is empty, is broken_body.
// Close frees the decoder; r is left open.
func Decompress(contentEncoding string, r io.Reader) (io.ReadCloser, error) {
	switch strings.ToLower(strings.TrimSpace(contentEncoding)) {
	case "", "identity":
		return io.NopCloser(r), nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, damaged(err)
		}
		return &decoder{z, z.Close}, nil
	case "zstd":
		b := bufio.NewReader(r)
		if _, err := b.Peek(1); err == io.EOF {
			return nil, damaged(io.ErrUnexpectedEOF)
		}
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, damaged(err)
		}
		return &decoder{z, func() error { z.Close(); return nil }}, nil
	}
	return nil, huanxin.Errorf(huanxin.Unsupported, "unsupported_encoding", "Content-Encoding may be gzip or zstd")
}

// decoder turns what a decompressor complains of into refusals.
type decoder struct {
	r     io.Reader
	close func() error
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = damaged(err)
	}
	return n, err
}

func (d *decoder) Close() error { return d.close() }

func damaged(err error) error {
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return &huanxin.Error{Kind: huanxin.Unsupported, Code: "unsupported_encoding", Err: err,
			Detail: "a zstd window may have at most 8 MB"}
	}
	return &huanxin.Error{Kind: huanxin.Invalid, Code: "broken_body", Err: err,
		Detail: "the body broke off, or could not be decompressed"}
}
