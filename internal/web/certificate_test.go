package web

import (
	"bytes"
	"image"
	"image/png"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/prometheus/client_golang/prometheus"
)

// upload sends a picture to be checked.
func upload(t *testing.T, w *Web, photo []byte) *httptest.ResponseRecorder {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("photo", "x")
	must(t, err)
	_, err = part.Write(photo)
	must(t, err)
	must(t, form.Close())
	return sends(w, &body, form.FormDataContentType())
}

func sends(w *Web, body io.Reader, kind string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/verify", body)
	r.Header.Set("Content-Type", kind)
	got := httptest.NewRecorder()
	w.ServeHTTP(got, r)
	return got
}

func justPages() *Web {
	return New(Options{Issuer: "http://127.0.0.1:8080", Registry: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

// unread is a body that must not be read.
type unread struct{ *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.Error("the body is read")
	return 0, io.EOF
}

func TestWhoFindsNoPlaceIsRefusedBeforeAnythingIsRead(t *testing.T) {
	w := justPages()
	for range maxUploads {
		w.uploads <- struct{}{}
	}
	if got := sends(w, unread{t}, "multipart/form-data; boundary=x"); got.Code != 503 || !strings.Contains(got.Body.String(), "现在人太多") || got.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	<-w.uploads
	if got := upload(t, w, []byte("hello")); got.Code != 422 {
		t.Errorf("with a place: %d", got.Code)
	}
	if len(w.uploads) != maxUploads-1 || len(w.photos) != 0 {
		t.Error("a place is not given back")
	}
}

func TestAPictureIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := justPages()
		for range maxPhotos() {
			w.photos <- struct{}{}
		}
		if got := upload(t, w, []byte("hello")); got.Code != 503 || !strings.Contains(got.Body.String(), "现在人太多") {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	})
}

// dripping is a body that comes steadily and never ends.
type dripping struct{}

func (dripping) Read(b []byte) (int, error) {
	time.Sleep(time.Second)
	return copy(b, "x"), nil
}

func TestWhoDripsACertificateDoesNotKeepThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, began := justPages(), time.Now()
		if got := sends(w, dripping{}, "multipart/form-data; boundary=x"); got.Code != 400 || time.Since(began) > uploadFor+time.Minute {
			t.Errorf("%d after %v", got.Code, time.Since(began))
		}
	})
}

func TestAPictureOfTooManyPixelsIsNotUnfolded(t *testing.T) {
	encoded := func(m image.Image) []byte {
		var b bytes.Buffer
		must(t, png.Encode(&b, m))
		return b.Bytes()
	}
	for what, c := range map[string]struct {
		photo []byte
		says  string
		code  string
	}{
		"as many as may be":            {encoded(image.NewGray(image.Rect(0, 0, 100, 160_000))), "没有找到二维码", "no_code"},
		"more":                         {encoded(image.NewGray(image.Rect(0, 0, 100, 160_001))), "最多 1600 万像素。请", "photo_pixels"},
		"half as many, twice as large": {encoded(image.NewGray16(image.Rect(0, 0, 100, 80_001))), "最多 1600 万像素。请", "photo_pixels"},
	} {
		if _, err := readQR(c.photo); huanxin.CodeOf(err) != c.code {
			t.Errorf("%s: %v", what, err)
		}
		if got := upload(t, justPages(), c.photo); got.Code != 422 || !strings.Contains(got.Body.String(), c.says) {
			t.Errorf("%s: %d %s", what, got.Code, got.Body)
		}
	}
}
