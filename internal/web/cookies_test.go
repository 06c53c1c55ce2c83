package web

import (
	"strings"
	"testing"
)

func TestAPathToGoBackToIsOneOfOurs(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/number": true, "/requests/req_01": true, "/a:b@c": true, "/号码": true,
		"": false, "number": false, "https://evil.example/": false, "//evil.example": false, "/\\evil.example": false, "\\/evil.example": false,
		"/\t/evil.example": false, "/\n/evil.example": false, "/\r/evil.example": false, "/\x00/evil.example": false, "/\x1f/evil.example": false, "/ /evil.example": false,
		"/\x7f/evil.example": false, "\t//evil.example": false, "/number?x": false, "/number#x": false, "/" + strings.Repeat("x", 200): false,
	} {
		if ours(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}
