package web

import (
	"bytes"
	"errors"
	"image"
	_ "image/jpeg" // pictures of codes
	_ "image/png"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/boombuler/barcode/qr"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

func (w *Web) askCertificate(v *visit) error {
	return v.show("certificate", CertificatePage{F: v.frame("cert-title")})
}

func (w *Web) makeCertificate(v *visit) error {
	since, err := huanxin.ParseCertifyPrecision(v.r.PostFormValue("since"))
	if err != nil {
		return err
	}
	c, err := w.o.Hub.Certify(v.ctx(), v.who, huanxin.CertificatePrecision{WholeNumber: v.r.PostFormValue("number") == "full", Since: since})
	if err != nil {
		return err
	}
	text, err := w.o.Ring.SignCertificate(w.o.Issuer, c, time.Now())
	if err != nil {
		return err
	}
	p := CertificatePage{F: v.frame("cert-title"), Text: text, Says: v.says(c), Issued: v.minute(c.IssuedAt), Until: v.minute(c.Expires),
		VerifyURL: w.o.Issuer + "/verify", KeysURL: w.o.Issuer + auth.JWKSPath}
	if p.Path, p.Size, err = drawQR(text); err != nil {
		return err
	}
	return v.show("certificate", p)
}

func (v *visit) says(c huanxin.Certificate) string {
	key := "cert-says"
	if c.AtLatest {
		key = "cert-says-latest"
	}
	return v.t(key, grouped(c.Number), c.Since)
}

// quiet is the margin of a QR code in modules (ISO/IEC 18004 §6.3.8).
const quiet = 4

// drawQR gives the dark modules of a QR code as a path of SVG, and the size of the picture with its margin.
func drawQR(text string) (path string, size int, err error) {
	code, err := qr.Encode(text, qr.L, qr.Auto)
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	n := code.Bounds().Dx()
	for y := range n {
		for x := 0; x < n; x++ {
			begin := x
			for x < n && dark(code, x, y) {
				x++
			}
			if x > begin { // a run of modules
				b.WriteString("M" + strconv.Itoa(begin+quiet) + " " + strconv.Itoa(y+quiet) + "h" + strconv.Itoa(x-begin) + "v1h-" + strconv.Itoa(x-begin) + "z")
			}
		}
	}
	return b.String(), n + 2*quiet, nil
}

func dark(code image.Image, x, y int) bool {
	r, _, _, _ := code.At(x, y).RGBA()
	return r == 0
}

func (w *Web) askVerify(v *visit) error {
	return v.show("verify", VerifyPage{F: v.frame("verify-title")})
}

// verify says what a certificate says, pasted or photographed. It asks nobody how the number is now.
func (w *Web) verify(v *visit) error {
	p := VerifyPage{F: v.frame("verify-title")}
	text, err := w.certificateText(v)
	switch huanxin.CodeOf(err) {
	case "no_code":
		p.Problem, v.status = "verify-nocode", 422
		return v.show("verify", p)
	case "nothing":
		p.Problem, v.status = "verify-empty", 422
		return v.show("verify", p)
	}
	if err != nil {
		return err
	}
	c, err := w.o.Ring.VerifyCertificate(text, w.o.Issuer, time.Now())
	switch huanxin.CodeOf(err) {
	case "certificate_invalid":
		p.Problem, v.status = "verify-bad", 422
		return v.show("verify", p)
	case "certificate_expired":
		p.Verdict, p.Class = "verify-old", "late"
	default:
		if err != nil {
			return err
		}
		p.Verdict, p.Class = "verify-good", "good"
	}
	p.Says, p.Issued, p.Until = v.says(c), v.minute(c.IssuedAt), v.minute(c.Expires)
	return v.show("verify", p)
}

// certificateText gives the text that was pasted, or that stands in a picture. The picture is read in memory and forgotten.
func (w *Web) certificateText(v *visit) (string, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxPhoto+maxForm)
	parts, err := v.r.MultipartReader()
	if err != nil {
		return "", huanxin.Errorf(huanxin.Invalid, "bad", "no form")
	}
	var text string
	var photo []byte
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", tooLarge(err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return "", tooLarge(err)
		}
		switch part.FormName() {
		case "text":
			text = strings.TrimSpace(string(content))
		case "photo":
			photo = content
		}
	}
	switch {
	case text != "":
		return text, nil
	case len(photo) == 0:
		return "", huanxin.Errorf(huanxin.Invalid, "nothing", "neither text nor picture")
	}
	select {
	case w.photos <- struct{}{}:
		defer func() { <-w.photos }()
	case <-v.ctx().Done():
		return "", v.ctx().Err()
	}
	return readQR(photo)
}

func tooLarge(err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return huanxin.Errorf(huanxin.TooLarge, "bad", "the picture is too large")
	}
	return huanxin.Errorf(huanxin.Invalid, "bad", "the form is broken off")
}

// maxPixels bounds what a small file may unfold to.
const maxPixels = 40_000_000

// readQR reads the QR code of a picture. The library that finds it is not ours to trust with what strangers send: whatever it does, the answer is that there is no code.
func readQR(photo []byte) (text string, err error) {
	none := huanxin.Errorf(huanxin.Refused, "no_code", "no code is found in the picture")
	defer func() {
		if recover() != nil {
			text, err = "", none
		}
	}()
	head, _, err := image.DecodeConfig(bytes.NewReader(photo))
	if err != nil || head.Width <= 0 || head.Height <= 0 || head.Width*head.Height > maxPixels {
		return "", none
	}
	picture, _, err := image.Decode(bytes.NewReader(photo))
	if err != nil {
		return "", none
	}
	bits, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		return "", none
	}
	got, err := qrcode.NewQRCodeReader().Decode(bits, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	if err != nil {
		return "", none
	}
	return got.GetText(), nil
}
