package conformance

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/auth"
)

// forgery is a SET that is none of the hub's for this company, by one fault.
type forgery struct {
	code  string
	name  string
	title Text
	fix   Text
	// make writes claims as a SET.
	make func(r *run, claims map[string]any) (string, error)
}

const setType = "secevent+jwt"

func (r *run) signed(claims map[string]any, typ string) (string, error) {
	return r.hub.ring.Sign(time.Now(), typ, claims)
}

// stranger signs with a key that the hub does not have.
func stranger(claims map[string]any) (string, error) {
	ring, err := auth.NewKeyRing(auth.NewSigningKey(time.Now().Add(-time.Hour)).Named())
	if err != nil {
		return "", err
	}
	return ring.Sign(time.Now(), setType, claims)
}

// rehead changes a token's header, which its signature no longer fits.
func rehead(token string, change func(map[string]any)) (string, error) {
	parts := strings.Split(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return "", err
	}
	var head map[string]any
	if err := json.Unmarshal(text, &head); err != nil {
		return "", err
	}
	change(head)
	if text, err = json.Marshal(head); err != nil {
		return "", err
	}
	parts[0] = base64.RawURLEncoding.EncodeToString(text)
	return strings.Join(parts, "."), nil
}

func with(claims map[string]any, name string, v any) map[string]any {
	out := maps.Clone(claims)
	out[name] = v
	return out
}

var forgeries = []forgery{
	{"forged-signature", "fa", say("签名不对", "A wrong signature"), say("用枢纽 jwks.json 里 kid 对应的公钥验签", "verify with the public key of this kid in the hub's jwks.json"),
		func(r *run, claims map[string]any) (string, error) {
			token, err := r.signed(claims, setType)
			if err != nil {
				return "", err
			}
			return rehead(token, func(head map[string]any) { head["x"] = "y" })
		}},
	{"forged-none", "fb", say("alg 为 none", "alg none"), say("只接受 ES256、EdDSA、RS256,绝不接受 none 和 HS256", "take ES256, EdDSA and RS256, and never none or HS256"),
		func(_ *run, claims map[string]any) (string, error) {
			text, err := json.Marshal(claims)
			head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"` + setType + `"}`))
			return head + "." + base64.RawURLEncoding.EncodeToString(text) + ".", err
		}},
	{"forged-kid", "fc", say("枢纽没有这把钥匙", "A key that the hub does not have"), say("kid 不在 jwks.json 里的一律拒绝:invalid_key", "refuse a kid that is not in jwks.json: invalid_key"),
		func(_ *run, claims map[string]any) (string, error) { return stranger(claims) }},
	{"forged-embedded-key", "fd", say("钥匙写在令牌里", "A key that the token brings along"), say("不看 jwk、jku、x5c 头:钥匙只来自 jwks.json", "do not look at jwk, jku and x5c: keys come from jwks.json alone"),
		func(r *run, claims map[string]any) (string, error) {
			key, err := r.hub.ring.SETKey("ES256", time.Now())
			if err != nil {
				return "", err
			}
			return signEmbedded(claims, key.KID())
		}},
	{"forged-hmac", "fk", say("alg 为 HS256,拿公钥当口令", "HS256, with the public key for a secret"), say("算法由钥匙定,不由令牌定:公钥谁都有,绝不接受 HS256", "the key says which algorithm, and the token does not: everybody has the public key, so never take HS256"),
		func(r *run, claims map[string]any) (string, error) {
			key, err := r.hub.ring.SETKey("ES256", time.Now())
			if err != nil {
				return "", err
			}
			set := r.hub.ring.JWKS(time.Now())
			return signHMAC(claims, key.KID(), set.Key(key.KID())[0].Key)
		}},
	{"forged-audience", "fe", say("aud 是别人", "For somebody else"), say("aud 必须含自己的客户端 id:invalid_audience", "aud must hold the own client id: invalid_audience"),
		func(r *run, claims map[string]any) (string, error) {
			return r.signed(with(claims, "aud", "somebody-else"), setType)
		}},
	{"forged-issuer", "ff", say("iss 不是枢纽", "From another issuer"), say("iss 必须等于枢纽的地址:invalid_issuer", "iss must be the hub's URL: invalid_issuer"),
		func(r *run, claims map[string]any) (string, error) {
			return r.signed(with(claims, "iss", "https://elsewhere.example"), setType)
		}},
	{"forged-type", "fg", say("不是事件令牌", "No event token"), say("typ 必须是 secevent+jwt:别的令牌不能当事件用", "typ must be secevent+jwt: other tokens are no events"),
		func(r *run, claims map[string]any) (string, error) { return r.signed(claims, "at+jwt") }},
}

func forgedScenarios(r *run) []*scenario {
	why := say("谁都能往接口上发东西:没有验过的事件能让公司解绑任何人", "anybody can send something to an endpoint: an event that is not verified unbinds whomever they like")
	var out []*scenario
	for _, x := range forgeries {
		l := r.plan.reassigned(r.plan.segment)
		r.plan.account(l, x.name)
		out = append(out, &scenario{code: x.code, rule: "§7.1", title: x.title, why: why, fix: x.fix, line: l,
			run: func(ctx context.Context) finding { return r.forged(ctx, l, x) }})
	}
	l := r.plan.reassigned(r.plan.segment)
	r.plan.account(l, "fh")
	undo := func(code, name string, title Text, t huanxin.EventType, facts ...func(*Account)) {
		l := r.plan.reassigned(r.plan.segment)
		x := r.plan.account(l, name, facts...)
		out = append(out, &scenario{code: code, rule: "§7.15", title: title, line: l,
			why: say("伪造一个取消或撤回,就能把解绑了的号码要回来", "whoever forges a cancellation or a retraction gets a number back that was taken off an account"),
			fix: say("每个事件都验,不只是任务", "verify every event, and not tasks alone"), run: func(ctx context.Context) finding { return r.undone(ctx, l, x, t) }})
	}
	undo("forged-cancelled", "fi", say("伪造的取消", "A forged cancellation"), huanxin.UnbindCancelled, ofClass("payment"))
	undo("forged-retracted", "fj", say("伪造的撤回", "A forged retraction"), huanxin.RecycleRetracted)
	return append(out, &scenario{code: "forged-sender", rule: "§7.1", title: say("没有出示约定的口令,或口令不对", "Without the agreed authorization, or with another"), line: l, why: why,
		fix: say("推送接口先查 Authorization,不对就答 401", "look at Authorization first, and answer 401 where it is another one"),
		run: func(ctx context.Context) finding { return r.unauthorized(ctx, l) }})
}

// claims are those of a task that nobody asked for.
func (r *run) claims(l *line) (claims map[string]any, task, jti string) {
	task, jti = "forged"+rand.Text()[:16], rand.Text()
	tenure := rand.Text()
	now := time.Now()
	digest := huanxin.TaskDigest(task, r.o.ClientID, huanxin.Unbind, l.number, tenure, l.started, l.origin)
	return map[string]any{"iss": r.hub.URL, "aud": r.o.ClientID, "jti": jti, "iat": now.Unix() - 1, "txn": tenure,
		"sub_id": map[string]any{"format": "phone_number", "phone_number": l.number.E164()},
		"events": map[string]any{huanxin.UnbindRequested.String(): map[string]any{"event_timestamp": now.Unix() - 1, "id": task, "app": r.o.ClientID,
			"kind": huanxin.Unbind.String(), "tenure": map[string]any{"id": tenure, "started_at": l.started, "origin": l.origin.String()},
			"due_at": now.Add(5 * day), "digest": digest, "state": "queued"}}}, task, jti
}

func (r *run) forged(ctx context.Context, l *line, x forgery) finding {
	expected := say("拒绝(轮询:setErrs;推送:400),什么也不做", "it is refused (poll: setErrs; push: 400) and nothing is done")
	if r.front.mode() == "list" {
		return skipped(expected, noStream)
	}
	claims, task, jti := r.claims(l)
	token, err := x.make(r, claims)
	if err != nil {
		return hubFailed(expected, err)
	}
	got := r.hand(ctx, &told{jti: jti, token: token, number: l.number.E164(), task: task, uri: huanxin.UnbindRequested.String()}, true)
	client.Pause(ctx, r.o.Quiet)
	if f := r.untouched(ctx, l, expected); f.outcome == Failed {
		f.seen = say("照着伪造的事件做了", "it acts by a forged event").and(f.seen)
		return f
	}
	if n := len(r.ear.of(task)); n > 0 {
		return failed(expected, say("答复了一个不存在的任务", "it answers a task that there is not"))
	}
	return r.refusal(expected, got)
}

// refusal fails where something forged was not refused as it is to be.
func (r *run) refusal(expected Text, got reaction) finding {
	switch {
	case got.taken:
		return failed(expected, say("当作真的收下了", "it is taken as genuine"))
	case got.refused == "":
		return failed(expected, say("%s 内既没有收下也没有拒绝", "neither taken nor refused within %s", max(r.o.Within, handFor)))
	case got.status != 0 && got.status != http.StatusBadRequest:
		return failed(expected, say("答了状态 %d:枢纽会当作故障而一直重发", "it answers with status %d, which the hub takes for a failure and repeats", got.status))
	}
	return passed(expected, say("拒绝:%s", "refused: %s", got.refused))
}

func (r *run) unauthorized(ctx context.Context, l *line) finding {
	expected := say("答 401 或 403,什么也不做", "it answers 401 or 403, and does nothing")
	switch r.front.relay.secured() {
	case "":
		return skipped(expected, say("没有推送", "nothing is pushed"))
	case "open":
		return skipped(expected, say("公司没有约定 authorization_header", "the company agreed on no authorization_header"))
	}
	claims, task, _ := r.claims(l)
	token, err := r.signed(claims, setType) // genuine, but for who sends it
	if err != nil {
		return hubFailed(expected, err)
	}
	var answered []int
	for _, shown := range []string{"", r.front.relay.authorization() + "x"} {
		p := r.front.relay.again(ctx, token, shown)
		if answered = append(answered, p.status); p.status != http.StatusUnauthorized && p.status != http.StatusForbidden {
			return failed(expected, say("答了状态 %d", "it answers with status %d", p.status))
		}
	}
	client.Pause(ctx, r.o.Quiet)
	if f := r.untouched(ctx, l, expected); f.outcome == Failed {
		return f
	}
	if len(r.ear.of(task)) > 0 {
		return failed(expected, say("答复了一个不存在的任务", "it answers a task that there is not"))
	}
	return passed(expected, say("答了状态 %v", "it answers with status %v", answered))
}

// undone has somebody take back, in the hub's name, what was rightly done.
func (r *run) undone(ctx context.Context, l *line, x *Account, t huanxin.EventType) finding {
	expected := say("拒绝(轮询:setErrs;推送:400),号码不恢复", "it is refused (poll: setErrs; push: 400), and the number does not come back")
	if r.front.mode() == "list" {
		return skipped(expected, noStream)
	}
	a, f := r.unbound(ctx, l, x, expected)
	if f != nil {
		return *f
	}
	claims, _, jti := r.claims(l)
	claims["events"] = map[string]any{t.String(): map[string]any{"event_timestamp": time.Now().Unix() - 1, "task_id": a.task, "reason": huanxin.TaskCancelled.String(), "retracts": rand.Text()}}
	token, err := stranger(claims)
	if err != nil {
		return hubFailed(expected, err).of(a)
	}
	got := r.hand(ctx, &told{jti: jti, token: token, number: l.number.E164(), task: a.task, uri: t.String()}, true)
	client.Pause(ctx, r.o.Quiet)
	switch s, ok, failure := r.see(ctx, x); {
	case failure != "":
		return notSeen(expected, x, failure).of(a)
	case ok && s.IsKey:
		return failed(expected, say("照着伪造的事件恢复了", "it restores by a forged event")).of(a)
	}
	return r.refusal(expected, got).of(a)
}
