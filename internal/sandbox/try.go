package sandbox

import (
	"os"
	"path/filepath"
	"strings"
)

// begin is what a visitor's shell needs before it can do what tries have. No number and no secret stands on the page: the shell
// reads them from sandbox.json.
func (d *demo) begin() string {
	dir := filepath.Join(d.o.Data, "try")
	program := ""
	if exe, err := os.Executable(); err == nil {
		program = "PATH=" + quoted(filepath.Dir(exe)) + ":$PATH\n"
	}
	return `mkdir -p ` + quoted(dir) + ` && cd ` + quoted(dir) + `
` + program + `BOX=../` + fileName + `
HUB=$(jq -r .base_url $BOX)
secret() { jq -r --arg id "$1" '.clients[]|select(.id==$id).client_secret' $BOX; }
token() { curl -sS -u "$1:$(secret "$1")" -d grant_type=client_credentials $HUB/oauth2/token | jq -r .access_token; }
export HUANXIN_URL=$HUB HUANXIN_CLIENT_ID=yours HUANXIN_CLIENT_SECRET=$(secret yours)`
}

// quoted writes a word for the shell.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r == '/' || r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// try is something that a visitor can do; what it says is Chinese and English.
type try struct {
	id                string
	title, text, note [2]string
	shell             string
}

// tries are what the start page shows, in an order in which they can be done. Each needs begin and no other.
var tries = []try{
	{id: "request",
		title: [2]string{"替一位机主申请焕新", "Make a request for a holder"},
		text: [2]string{"以运营商的身份申请,再看进展。应用 yours 没有人操作:它的任务等你来答复。",
			"As the carrier, and see how it goes. Nobody works the app yours: its tasks wait for you."},
		shell: `HOLDER='.holders[0]'
CARRIER=$(jq -r "$HOLDER.carrier" $BOX)
TOKEN=$(token $CARRIER)
jq --arg now "$(date -u +%FT%TZ)" "$HOLDER"' as $h | {number:$h.number,
  tenure:{started_at:$h.tenure_started_at,origin:$h.origin}, apps:["yours","qingxi-pay"],
  proof:{control:"sms_otp",identity:"carrier_crm",verified_at:$now}}' $BOX |
curl -sS -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d @- $HUB/v1/requests | tee request.json | jq .
curl -sS -H "Authorization: Bearer $TOKEN" $HUB/v1/requests/$(jq -r .id request.json) | jq .
curl -sS -H "Authorization: Bearer $(token yours)" "$HUB/v1/tasks?limit=10" | jq '.tasks[]|{id,kind,due_at}'`,
		note: [2]string{"同一持号期每天只接受一个申请;换一位机主就把 .holders[0] 改成 .holders[1]。号码写在请求体里,从不写在网址里。",
			"One request a day is accepted for a tenure: for another holder write .holders[1]. A number stands in the body, never in a URL."}},
	{id: "feed",
		title: [2]string{"订阅事件流", "Subscribe to the feed"},
		text: [2]string{"给应用 yours 建一条流(标准 SSF 1.0),要一个验证事件,取来看,再确认收到。之后到上面替机主申请一次,再取,就有任务。说明在 docs/feed.md。",
			"Make a stream for the app yours (the standard SSF 1.0), ask for a verification event, fetch it, and acknowledge it. Then make a request above and fetch again: there is a task. See docs/feed.md."},
		shell: feedShell,
		note: [2]string{"每次取都附上次的确认(ack);没确认的一分钟后再来。一个应用最多 5 条流;不要了就 curl -X DELETE。",
			"Each fetch may acknowledge what came before (ack); what is not acknowledged comes again after a minute. An app may have 5 streams; curl -X DELETE takes one away."}},
	{id: "check",
		title: [2]string{"核验一个号码", "Check one number"},
		text: [2]string{"这个号码的机主自某天以来换过吗?回答 UNKNOWN(不知道)时,光凭短信不能放行。",
			"Has its holder changed since a day? When the answer is UNKNOWN, an SMS alone must not open an account."},
		shell: `jq -r .numbers.changed.number $BOX | huanxin check - --since "$(jq -r .numbers.changed.since $BOX)"
jq -r .numbers.unknown.number $BOX | huanxin check - --since "$(jq -r .numbers.unknown.since $BOX)"`},
	{id: "checks",
		title: [2]string{"一次核验许多号码(接口)", "Check many numbers at once (the API)"},
		text: [2]string{"NDJSON 或 CSV,不限长度。sandbox.json 里的号码总是如其名地回答。每家运营商知道多少,看 coverage。",
			"NDJSON or CSV of any length. The numbers in sandbox.json always answer as they are called. How much each carrier knows is in coverage."},
		shell: `jq -c '.numbers|to_entries[]|{name:.key,number:.value.number,since:(.value.since//"2020-01-01")}' $BOX |
curl -sS -H "Authorization: Bearer $(token yours)" -H 'Content-Type: application/x-ndjson' --data-binary @- $HUB/v1/checks |
jq -c '{name,outcome,reason}'
curl -sS -H "Authorization: Bearer $(token yours)" $HUB/v1/coverage | jq .`,
		note: [2]string{"客户端 yours 不限每秒、每天的次数,好试大文件;其他应用按默认值:每秒 50,000 次,每天 1000 万次。",
			"The client yours has no limit a second or a day, so that large streams can be tried; other apps have the default, 50,000 a second and 10 million a day."}},
	{id: "match",
		title: [2]string{"核对账号库", "Reconcile an account base"},
		text: [2]string{"从 CSV(account,number,bound_at)里挑出机主变了的行;说不清的另放一处。说明在 docs/match.md。",
			"Of a CSV file (account,number,bound_at) it writes the rows whose holder changed; those that cannot be told go elsewhere. See docs/match.md."},
		shell: `jq -r '["account","number","bound_at"],(.numbers|to_entries[]|[.key,.value.number,(.value.since//"2020-01-01")])|@csv' $BOX > accounts.csv
huanxin match --in accounts.csv --out changed.csv --unknown unknown.csv
cat changed.csv unknown.csv`},
	{id: "replica",
		title: [2]string{"本地副本", "A local replica"},
		text: [2]string{"应用 yours 的合同是 uploaded:副本只含它上传的号码;qingxi-pay 的是 whole:全部号码。说明在 docs/replica.md。",
			"The contract of the app yours is uploaded: its replica holds the numbers that it uploaded. That of qingxi-pay is whole: every number. See docs/replica.md."},
		shell: `jq -r '"number",.holders[].number' $BOX > numbers.csv
huanxin replica upload --in numbers.csv
huanxin replica pull --out numbers
huanxin replica verify numbers
HUANXIN_CLIENT_ID=qingxi-pay HUANXIN_CLIENT_SECRET=$(secret qingxi-pay) huanxin replica pull --out all
huanxin replica info all`},
	{id: "camara",
		title: [2]string{"CAMARA Number Recycling", "CAMARA Number Recycling"},
		text:  [2]string{"与 CAMARA NumberRecycling 0.2.0 逐字节一致。", "CAMARA NumberRecycling 0.2.0, to the byte."},
		shell: `jq '.numbers.changed|{phoneNumber:.number,specifiedDate:.since}' $BOX |
curl -sS -H "Authorization: Bearer $(token yours)" -H 'Content-Type: application/json' -d @- $HUB/number-recycling/v0.2/check`},
	{id: "three-legged",
		title: [2]string{"绑定号码的令牌(三方)", "A token bound to a number (three-legged)"},
		text: [2]string{"运营商签字担保对面的人持有这个号码;应用拿它换令牌,请求里不写号码。各项声明的含义在 docs/camara.md。需要 openssl。",
			"The carrier signs that the person at the other end has the number; the app exchanges that for a token, and asks without the number. The claims are explained in docs/camara.md. Needs openssl."},
		shell: threeLegged},
	{id: "operator",
		title: [2]string{"做枢纽的运营者", "Be the operator of the hub"},
		text: [2]string{"枢纽的数据在 hub 目录里,管理命令加 --data 就能用,几秒内生效,重启后仍在。",
			"The hub's data lie in the directory hub. Commands of the operator take it with --data; what they change holds within seconds, and after a restart."},
		shell: `huanxin client limit tingdu-pay --checks-per-second 100 --checks-per-day 1000000 --data ../hub
huanxin party replica tingdu-pay uploaded --data ../hub
huanxin party list --data ../hub | grep -e '^ID' -e ' uploaded ' -e ' whole '`},
}

// threeLegged is the carrier's part and the app's. It stands in docs/camara.md, too.
const threeLegged = `b64() { basenc --base64url -w0 | tr -d =; }
# the carrier: a header, the claims, and a signature (openssl writes it as DER, a JWT as two numbers of 32 bytes)
jq -r '.vouchers[0].private_key' $BOX > key.pem
HEAD=$(jq -jc '.vouchers[0]|{alg:"ES256",kid,typ:"huanxin-number-grant+jwt"}' $BOX | b64)
CLAIMS=$(jq -jc --arg hub "$HUB" --arg jti "$(openssl rand -hex 16)" '.vouchers[0] as $v |
  first(.holders[]|select(.carrier==$v.carrier)) as $h | {iss:$v.client_id, sub:("tel:"+$h.number), aud:$hub, client_id:"yours",
  iat:(now|floor), exp:(now|floor+120), jti:$jti, purpose:"dpv:FraudPreventionAndDetection"}' $BOX | b64)
SIGNATURE=$(printf %s "$HEAD.$CLAIMS" | openssl dgst -sha256 -sign key.pem | openssl asn1parse -inform DER |
  awk -F: '/INTEGER/ {printf "%64s", $NF}' | tr ' ' 0 | basenc --base16 -d | b64)
# the app: exchanges it for a token, and asks without a number
BOUND=$(curl -sS -u "yours:$(secret yours)" -d grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer \
  -d "assertion=$HEAD.$CLAIMS.$SIGNATURE" $HUB/oauth2/token | jq -r .access_token)
curl -sS -H "Authorization: Bearer $BOUND" -H 'Content-Type: application/json' \
  -d '{"specifiedDate":"2019-01-01"}' $HUB/number-recycling/v0.2/check`

// feedShell makes a stream, or takes the one that is there, and reads it once. It stands in docs/feed.md, too.
const feedShell = `TOKEN=$(token yours)
feed() { curl -sS -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' "$@"; }
feed $HUB/ssf/streams | jq -e '.[0]' > stream.json || feed -d '{"description":"mine"}' $HUB/ssf/streams > stream.json
jq . stream.json
POLL=$(jq -r .delivery.endpoint_url stream.json)
jq '{stream_id,state:"hello"}' stream.json | feed -d @- $HUB/ssf/verify
feed -d '{"returnImmediately":true}' $POLL > sets.json
jq '.sets[]|split(".")[:2]|map(gsub("-";"+")|gsub("_";"/")|@base64d|fromjson)' sets.json   # header and claims of each
jq '{ack:(.sets|keys),returnImmediately:true}' sets.json | feed -d @- $POLL | jq .`
