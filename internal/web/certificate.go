package web

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	_ "image/jpeg" // pictures of codes
	_ "image/png"
	"io"
	"net/http"
	"os"
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

// verifyProblems are what is said of what cannot be checked.
var verifyProblems = map[string]struct {
	key    string
	status int
}{"no_code": {"verify-nocode", 422}, "nothing": {"verify-empty", 422}, "photo_bytes": {"verify-bytes", 413}, "photo_pixels": {"verify-pixels", 422}, "certificate_invalid": {"verify-bad", 422}}

// verify says what a certificate says, pasted or photographed. It asks nobody how the number is now.
func (w *Web) verify(v *visit) error {
	p := VerifyPage{F: v.frame("verify-title")}
	text, err := w.certificateText(v)
	if problem, ok := verifyProblems[huanxin.CodeOf(err)]; ok {
		p.Problem, v.status = problem.key, problem.status
		return v.show("verify", p)
	}
	if err != nil {
		return err
	}
	c, err := w.o.Ring.VerifyCertificate(text, w.o.Issuer, time.Now())
	if problem, ok := verifyProblems[huanxin.CodeOf(err)]; ok {
		p.Problem, v.status = problem.key, problem.status
		return v.show("verify", p)
	}
	switch huanxin.CodeOf(err) {
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

// certificateText gives the text that was pasted, or that stands in a picture. The picture is read in memory and forgotten. Who finds no place is refused before
// anything is read: strangers send these.
func (w *Web) certificateText(v *visit) (string, error) {
	select {
	case w.uploads <- struct{}{}:
		defer func() { <-w.uploads }()
	default:
		return "", errBusy()
	}
	v.r.Body = &timely{http.MaxBytesReader(v.w, v.r.Body, maxUpload), time.Now().Add(uploadFor)}
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
		content, err := io.ReadAll(io.LimitReader(part, maxPhoto+1))
		if err != nil {
			return "", tooLarge(err)
		}
		if len(content) > maxPhoto {
			if _, err := io.Copy(io.Discard, part); err != nil { // a browser hears no answer before all is sent
				return "", tooLarge(err)
			}
			return "", errPhotoBytes()
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
	turn := time.NewTimer(photoTurn)
	defer turn.Stop()
	select {
	case w.photos <- struct{}{}:
		defer func() { <-w.photos }()
	case <-turn.C:
		return "", errBusy()
	case <-v.ctx().Done():
		return "", v.ctx().Err()
	}
	return readQR(photo)
}

func errBusy() error {
	return &huanxin.Error{Kind: huanxin.Unavailable, Code: "busy", Detail: "too many certificates are checked at once", RetryAfter: photoTurn}
}

func errPhotoBytes() error {
	return huanxin.Errorf(huanxin.TooLarge, "photo_bytes", "the picture has more than 8 MB")
}

// timely is a body that takes no longer than it may, however steadily it comes.
type timely struct {
	io.ReadCloser
	until time.Time
}

func (t *timely) Read(b []byte) (int, error) {
	if time.Now().After(t.until) {
		return 0, os.ErrDeadlineExceeded
	}
	return t.ReadCloser.Read(b)
}

func tooLarge(err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return errPhotoBytes()
	}
	return huanxin.Errorf(huanxin.Invalid, "bad", "the form is broken off")
}

// maxPixels bounds what a small file may unfold to: 64 MB. One with 16 bits a colour may have half as many.
const maxPixels = 16_000_000

func tooManyPixels(c image.Config) bool {
	most := maxPixels
	switch c.ColorModel {
	case color.NRGBA64Model, color.RGBA64Model, color.Gray16Model:
		most /= 2
	}
	return c.Width > most/c.Height
}

// readQR reads the QR code of a picture. The library that finds it is not ours to trust with what strangers send: whatever it does, the answer is that there is no code.
func readQR(photo []byte) (text string, err error) {
	none := huanxin.Errorf(huanxin.Refused, "no_code", "no code is found in the picture")
	defer func() {
		if recover() != nil {
			text, err = "", none
		}
	}()
	head, _, err := image.DecodeConfig(bytes.NewReader(photo))
	if err != nil || head.Width <= 0 || head.Height <= 0 {
		return "", none
	}
	if tooManyPixels(head) {
		return "", huanxin.Errorf(huanxin.Refused, "photo_pixels", "the picture has too many pixels")
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
