package agent

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"runtime"
	"time"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// readKey reads a file that only its owner may read: PEM (PKCS#8 or SEC 1), or a JWK.
func readKey(path string) (*clientkey.Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, tell("%s: others than its owner may use it (mode %04o): chmod 600 it", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k, err := clientkey.Parse(text)
	if err != nil {
		return nil, tell("%s: the key cannot be read: %w", path, err)
	}
	return k, nil
}

// answerSET writes an answer as urn:huanxin:event:unbind-result. Sent again it has the same jti. The hub takes none that is older than three days.
func answerSET(k *clientkey.Key, clientID, hub string, a client.Answer, decided, now time.Time) (string, error) {
	issued := decided
	if now.Sub(issued) > 24*time.Hour {
		issued = now
	}
	jti := sha256.Sum256([]byte(a.TaskID + "\n" + a.Outcome + "\n" + a.Reason + "\n" + decided.Format(time.RFC3339Nano)))
	return k.Sign("secevent+jwt", map[string]any{"iss": clientID, "aud": hub, "iat": issued.Unix(), "jti": base64.RawURLEncoding.EncodeToString(jti[:16]),
		"sub_id": map[string]string{"format": "opaque", "id": a.TaskID}, "events": map[string]any{"urn:huanxin:event:unbind-result": a}})
}
