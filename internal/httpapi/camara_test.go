package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/httpapi"
)

const recycling = "/number-recycling/v0.2/check"

// Numbers of the tests by CAMARA, all of cmcc.
const (
	constant  = "+8613800200001" // one person's since 900 days
	again     = "+8613800200002" // another's since 100 days
	unsold    = "+8613800200003" // nobody's since 300 days
	arrived   = "+8613800200004" // came from nowhere 100 days ago
	unheard   = "+8613800200009"
	satellite = "+8613490000001"
)

// camara is a world with those numbers, as checks know them, and two apps.
func camara(t *testing.T, w *world) {
	t.Helper()
	w.Carrier("cmcc")
	w.Carrier("unicom")
	w.App("shop")
	w.App("bank")
	w.AddClient("shop-tasks", "shop", nil, huanxin.ScopeTasksWork, huanxin.ScopeNumbersCheck)
	w.recycled("cmcc", again)
	r, err := w.as("cmcc").ReportEvents(t.Context(), []client.Event{
		{ID: "kept", Number: constant, Kind: "activated", At: w.ago(900), Origin: "first"},
		{ID: "unsold", Number: unsold, Kind: "activated", At: w.ago(900), Origin: "first"},
		{ID: "unsold-2", Number: unsold, Kind: "disconnected", At: w.ago(300)},
		{ID: "arrived", Number: arrived, Kind: "activated", At: w.ago(100), Origin: "ported_in"},
	}, time.Time{})
	must(t, err)
	equal(t, "accepted", r.Accepted, 4)
	eventually(t, "the numbers show in checks", 10*time.Second, func() bool { return w.recycling(t, asks(arrived, w.date(1))).status == 200 })
}

// date writes the national date some days ago.
func (w *world) date(ago float64) string { return w.ago(ago).In(huanxin.China).Format(time.DateOnly) }

func asks(number, date string) call {
	return call{as: "shop", body: fmt.Sprintf(`{"phoneNumber":%q,"specifiedDate":%q}`, number, date)}
}

// recycling asks, as JSON unless the call says otherwise, and holds the answer against the definition.
func (w *world) recycling(t *testing.T, c call) answer {
	t.Helper()
	if c.method == "" {
		c.method = http.MethodPost
	}
	header := map[string]string{"Content-Type": "application/json"}
	for k, v := range c.header {
		header[k] = v
	}
	c.path, c.header = recycling, header
	a := w.do(c)
	asDefined(t, a, header["x-correlator"])
	return a
}

// asDefined holds an answer against the definition: status, body, media type and x-correlator.
func asDefined(t *testing.T, a answer, correlator string) {
	t.Helper()
	f, schemas := camaraFacts()
	if got := a.header.Values("Content-Type"); !slices.Equal(got, []string{"application/json"}) {
		t.Errorf("%d: Content-Type %q", a.status, got)
	}
	got := a.header.Values("X-Correlator")
	if len(got) != 1 || got[0] == "" || schemas["correlator"].Validate(got[0]) != nil {
		t.Errorf("%d: x-correlator %q", a.status, got)
	} else if correlator != "" && schemas["correlator"].Validate(correlator) == nil && got[0] != correlator {
		t.Errorf("%d: x-correlator %q, sent was %q", a.status, got[0], correlator)
	}
	body := string(a.body)
	conforms(t, strconv.Itoa(a.status), body)
	if a.status == 200 {
		return
	}
	if (a.status == 401) != strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") && a.status != 403 {
		t.Errorf("%d: WWW-Authenticate %q", a.status, a.header.Get("WWW-Authenticate"))
	}
	if !slices.ContainsFunc(f.Responses[strconv.Itoa(a.status)].Examples, func(e errorInfo) bool { return body == errorText(e) }) {
		t.Errorf("%d: %s is none of the definition's examples", a.status, body)
	}
}

func errorText(e errorInfo) string {
	return fmt.Sprintf(`{"status":%d,"code":%q,"message":%q}`, e.Status, e.Code, e.Message)
}

// says gives the answer in short: true, false, or the code of the error.
func (a *answer) says() string {
	if a.status == 200 {
		return strings.TrimSuffix(strings.TrimPrefix(string(a.body), `{"phoneNumberRecycled":`), "}")
	}
	var e errorInfo
	if json.Unmarshal(a.body, &e) != nil {
		return string(a.body)
	}
	return e.Code
}

func TestRecyclingIsAnsweredByTheTableOfOutcomes(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		camara(t, w)
		for _, c := range []struct {
			what, number string
			days         float64 // ago
			want         string
		}{
			{"the same holder", constant, 800, "false"},
			{"the same holder, on the day it began", constant, 900, "false"},
			{"the same holder, today", constant, 0, "false"},
			{"before the first tenure that is known", constant, 1000, "true"},
			{"another holder", again, 800, "true"},
			{"nobody at that time", again, 200, "true"},
			{"the day before the present holder", again, 101, "true"},
			{"the day of the present holder", again, 100, "false"},
			{"nobody holds it", unsold, 800, "true"},
			{"nobody holds it, today", unsold, 0, "true"},
			{"before what is known", arrived, 101, "OUT_OF_RANGE"},
			{"since it is known", arrived, 99, "false"},
			{"tomorrow", constant, -1.01, "OUT_OF_RANGE"},
			{"tomorrow, of a number never seen", unheard, -1.01, "OUT_OF_RANGE"},
			{"never seen", unheard, 10, "IDENTIFIER_NOT_FOUND"},
			{"a kind that is not served", satellite, 10, "SERVICE_NOT_APPLICABLE"},
			{"a privacy number", "+867001234567890", 10, "SERVICE_NOT_APPLICABLE"},
		} {
			if a := w.recycling(t, asks(c.number, w.date(c.days))); a.says() != c.want {
				t.Errorf("%s: %s, want %s", c.what, a.says(), c.want)
			}
		}
	})
}

// definedErrors gives, for every error of the definition, a call that gets it. There is none that the hub cannot give.
var definedErrors = map[string]func(t *testing.T, w *world) call{
	"400 INVALID_ARGUMENT":       func(_ *testing.T, w *world) call { return call{as: "shop", body: "{}"} },
	"400 OUT_OF_RANGE":           func(_ *testing.T, w *world) call { return asks(constant, w.date(-2)) },
	"401 UNAUTHENTICATED":        func(_ *testing.T, w *world) call { return call{body: asks(constant, w.date(1)).body} },
	"403 PERMISSION_DENIED":      func(_ *testing.T, w *world) call { return call{as: "shop-tasks", body: asks(constant, w.date(1)).body} },
	"404 IDENTIFIER_NOT_FOUND":   func(_ *testing.T, w *world) call { return asks(unheard, w.date(1)) },
	"422 SERVICE_NOT_APPLICABLE": func(_ *testing.T, w *world) call { return asks(satellite, w.date(1)) },
	"422 MISSING_IDENTIFIER": func(_ *testing.T, w *world) call {
		return call{as: "shop", body: `{"specifiedDate":"` + w.date(1) + `"}`}
	},
	"422 UNNECESSARY_IDENTIFIER": func(t *testing.T, w *world) call {
		return bearing(w.boundToken(t, "cmcc-key", "shop", constant), asks(constant, w.date(1)).body)
	},
}

func TestEveryErrorOfTheDefinitionCanHappen(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		camara(t, w)
		w.vouching("cmcc-key", "cmcc")
		f, _ := camaraFacts()
		walked := 0
		for _, r := range f.Responses {
			for _, e := range r.Examples {
				walked++
				name := fmt.Sprint(e.Status, " ", e.Code)
				make, ok := definedErrors[name]
				if !ok {
					t.Errorf("%s: no call gets it", name)
					continue
				}
				c := make(t, w)
				c.header = with(c.header, "x-correlator", "b4333c46-49c0-4f62-80d7-f0ef930f1c46")
				if a := w.recycling(t, c); a.status != e.Status || string(a.body) != errorText(e) {
					t.Errorf("%s: got %d %s", name, a.status, a.body)
				}
			}
		}
		equal(t, "errors of the definition", walked, len(definedErrors))
	})
}

func with(header map[string]string, name, value string) map[string]string {
	out := map[string]string{name: value}
	for k, v := range header {
		out[k] = v
	}
	return out
}

func TestABodyThatIsNotOfTheSchemaIsAnInvalidArgument(t *testing.T) {
	w := startWorld(t)
	camara(t, w)
	day := w.date(10)
	body := func(number, date string) string { return `{"phoneNumber":` + number + `,"specifiedDate":` + date + `}` }
	quoted := func(s string) string { return `"` + s + `"` }
	good := body(quoted(constant), quoted(day))
	for _, c := range []struct {
		what, body, want string
		header           map[string]string
	}{
		{"nothing unusual", good, "false", nil},
		{"blanks", " \r\n\t{ \"specifiedDate\" : \"" + day + "\" ,\n \"phoneNumber\":\"" + constant + "\" } \n", "false", nil},
		{"escapes", body(`"\u002b8613800200001"`, quoted(day)), "false", nil},
		{"members that are not known", `{"device":{"x":[1,null]},"phoneNumber":"` + constant + `","specifiedDate":"` + day + `","焕新":0}`, "false", nil},
		{"names in another case are not known", `{"PhoneNumber":"x","phoneNumber":"` + constant + `","specifiedDate":"` + day + `"}`, "false", nil},
		{"a charset", good, "false", map[string]string{"Content-Type": "application/json; charset=utf-8"}},
		{"gzip", compressed(t, "gzip", good), "false", map[string]string{"Content-Encoding": "gzip"}},
		{"long", good + strings.Repeat(" ", 10_000), "false", nil},
		{"an x-correlator of all characters", good, "false", map[string]string{"x-correlator": "aZ09-_:;./<>{}"}},
		{"an x-correlator of 256", good, "false", map[string]string{"x-correlator": strings.Repeat("x", 256)}},
		{"a query", good, "false", nil},

		{"no body", "", "INVALID_ARGUMENT", nil},
		{"no body nor content type", "", "INVALID_ARGUMENT", map[string]string{"Content-Type": ""}},
		{"no content type", good, "INVALID_ARGUMENT", map[string]string{"Content-Type": ""}},
		{"another content type", good, "INVALID_ARGUMENT", map[string]string{"Content-Type": "text/plain"}},
		{"another charset", good, "INVALID_ARGUMENT", map[string]string{"Content-Type": "application/json; charset=gbk"}},
		{"an encoding that is not known", good, "INVALID_ARGUMENT", map[string]string{"Content-Encoding": "br"}},
		{"an encoding that it is not", good, "INVALID_ARGUMENT", map[string]string{"Content-Encoding": "gzip"}},
		{"a bomb", string(zeros(1 << 20)), "INVALID_ARGUMENT", map[string]string{"Content-Encoding": "gzip"}},
		{"too long", good + strings.Repeat(" ", 100_000), "INVALID_ARGUMENT", nil},
		{"an x-correlator with a blank", good, "INVALID_ARGUMENT", map[string]string{"x-correlator": "a b"}},
		{"an x-correlator with a plus", good, "INVALID_ARGUMENT", map[string]string{"x-correlator": "+8613800000001"}},
		{"an x-correlator of 257", good, "INVALID_ARGUMENT", map[string]string{"x-correlator": strings.Repeat("x", 257)}},
		{"null", "null", "INVALID_ARGUMENT", nil},
		{"an array", "[" + good + "]", "INVALID_ARGUMENT", nil},
		{"a string", quoted(day), "INVALID_ARGUMENT", nil},
		{"an empty object", "{}", "INVALID_ARGUMENT", nil},
		{"cut", good[:len(good)-1], "INVALID_ARGUMENT", nil},
		{"two", good + good, "INVALID_ARGUMENT", nil},
		{"a comma too many", strings.Replace(good, "}", ",}", 1), "INVALID_ARGUMENT", nil},
		{"a member twice", strings.Replace(good, "{", `{"specifiedDate":"`+day+`",`, 1), "INVALID_ARGUMENT", nil},
		{"not UTF-8", strings.Replace(good, "{", "{\"x\":\"\xff\",", 1), "INVALID_ARGUMENT", nil},
		{"a byte order mark", "\ufeff" + good, "INVALID_ARGUMENT", nil},
		{"no date", `{"phoneNumber":"` + constant + `"}`, "INVALID_ARGUMENT", nil},
		{"an empty date", body(quoted(constant), `""`), "INVALID_ARGUMENT", nil},
		{"a date of null", body(quoted(constant), `null`), "INVALID_ARGUMENT", nil},
		{"a date that is a number", body(quoted(constant), `20241031`), "INVALID_ARGUMENT", nil},
		{"a date-time", body(quoted(constant), `"2024-10-31T00:00:00Z"`), "INVALID_ARGUMENT", nil},
		{"a day that is not in the calendar", body(quoted(constant), `"2023-02-29"`), "INVALID_ARGUMENT", nil},
		{"a date in another form", body(quoted(constant), `"31/10/2024"`), "INVALID_ARGUMENT", nil},
		{"a date with a blank", body(quoted(constant), `" 2024-10-31"`), "INVALID_ARGUMENT", nil},
		{"a number without plus", body(quoted(constant[1:]), quoted(day)), "INVALID_ARGUMENT", nil},
		{"a number with blanks", body(`"+86 13800200001"`, quoted(day)), "INVALID_ARGUMENT", nil},
		{"a number that begins with 0", body(`"+0613800200001"`, quoted(day)), "INVALID_ARGUMENT", nil},
		{"a number of 4 digits", body(`"+8613"`, quoted(day)), "INVALID_ARGUMENT", nil},
		{"a number of 16 digits", body(`"+8613800200001234"`, quoted(day)), "INVALID_ARGUMENT", nil},
		{"a privacy number of 17 digits", body(`"+86700123456789012"`, quoted(day)), "INVALID_ARGUMENT", nil},
		{"an empty number", body(`""`, quoted(day)), "INVALID_ARGUMENT", nil},
		{"a number of null", body(`null`, quoted(day)), "INVALID_ARGUMENT", nil},
		{"a number that is a number", body(`8613800200001`, quoted(day)), "INVALID_ARGUMENT", nil},
		{"a number in an array", body(`["`+constant+`"]`, quoted(day)), "INVALID_ARGUMENT", nil},
	} {
		if a := w.recycling(t, call{as: "shop", body: c.body, header: c.header}); a.says() != c.want {
			t.Errorf("%s: %s, want %s", c.what, a.says(), c.want)
		}
	}
}

func TestErrorsComeInTheirOrder(t *testing.T) {
	w := startWorld(t)
	camara(t, w)
	w.vouching("cmcc-key", "cmcc")
	bound := w.boundToken(t, "cmcc-key", "shop", constant)
	const bad = `{"phoneNumber":"138","specifiedDate":"x"}`
	noNumber := `{"specifiedDate":"` + w.date(-2) + `"}`
	for what, c := range map[string]struct {
		call
		want string
	}{
		"401 before 400":                             {call{body: bad}, "UNAUTHENTICATED"},
		"403 before 400":                             {call{as: "shop-tasks", body: bad}, "PERMISSION_DENIED"},
		"403 to a carrier":                           {call{as: "cmcc", body: bad}, "PERMISSION_DENIED"},
		"400 before MISSING_IDENTIFIER":              {call{as: "shop", body: "{}"}, "INVALID_ARGUMENT"},
		"400 before UNNECESSARY_IDENTIFIER":          {bearing(bound, bad), "INVALID_ARGUMENT"},
		"MISSING_IDENTIFIER before OUT_OF_RANGE":     {call{as: "shop", body: noNumber}, "MISSING_IDENTIFIER"},
		"UNNECESSARY_IDENTIFIER before OUT_OF_RANGE": {bearing(bound, asks(constant, w.date(-2)).body), "UNNECESSARY_IDENTIFIER"},
		"UNNECESSARY_IDENTIFIER, of any number":      {bearing(bound, asks(unheard, w.date(1)).body), "UNNECESSARY_IDENTIFIER"},
		"a token that is none":                       {bearing("x.y.z", bad), "UNAUTHENTICATED"},
		"another scheme":                             {call{body: bad, header: map[string]string{"Authorization": "Basic eDp5"}}, "UNAUTHENTICATED"},
	} {
		if a := w.recycling(t, c.call); a.says() != c.want {
			t.Errorf("%s: %s", what, a.says())
		}
	}
}

// TestWhatTheDefinitionLeavesOpenIsAnErrorInfoToo: Commonalities 0.6, to which the definition refers, names these.
func TestWhatTheDefinitionLeavesOpenIsAnErrorInfoToo(t *testing.T) {
	w := startWorld(t)
	const correlator = "of-the-caller"
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "BREW"} {
		a := w.do(call{method: method, path: recycling, header: map[string]string{"x-correlator": correlator}})
		want := errorText(errorInfo{405, "METHOD_NOT_ALLOWED", "The requested method is not allowed/supported on the target resource."})
		if method == "HEAD" {
			want = ""
		}
		if a.status != 405 || string(a.body) != want || a.header.Get("Allow") != "POST" || a.header.Get("X-Correlator") != correlator ||
			a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %v", method, a.status, a.body, a.header)
		}
	}
	w = startWorld(t, hubtest.InFlight(1))
	w.App("shop")
	w.Carrier("cmcc")
	shop, carrier := w.token("shop"), w.token("cmcc")
	eventually(t, "the hub is full", 10*time.Second, func() bool {
		a := w.do(call{method: "POST", path: recycling, header: map[string]string{"Authorization": "Bearer " + shop, "x-correlator": correlator}})
		if a.status == 400 {
			holdPlace(t, w, carrier)
			return false
		}
		if want := errorText(errorInfo{503, "UNAVAILABLE", "Service Unavailable."}); a.status != 503 || string(a.body) != want ||
			a.header.Get("Retry-After") == "" || a.header.Get("X-Correlator") != correlator || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
		return true
	})
}

// holdPlace begins a report that does not end before the test does, unless there is no place for it: one is free again only a moment
// after its request was answered.
func holdPlace(t *testing.T, w *world, token string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "POST /v1/number-events HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n", token)
	must(t, err)
}

// bearing is a call with a token of its own.
func bearing(token, body string) call {
	return call{body: body, header: map[string]string{"Authorization": "Bearer " + token}}
}

// keys are those of carriers' clients, by the client.
type keys map[string]auth.SigningKey

// vouching gives a carrier a client that gives its word about numbers.
func (w *world) vouching(id, carrier string, scopes ...huanxin.Scope) {
	w.t.Helper()
	key := auth.NewSigningKey(time.Now())
	set, err := auth.PublicJWKS(key)
	must(w.t, err)
	if len(scopes) == 0 {
		scopes = huanxin.Scopes{huanxin.ScopeRequestsCreate}
	}
	w.AddClient(id, carrier, set, scopes...)
	if w.keys == nil {
		w.keys = keys{}
	}
	w.keys[id] = key
}

// exchange gives an app a token that is bound to a number by the word of a carrier's client, or tells why not.
func (w *world) exchange(t *testing.T, carrierClient, app, number string) answer {
	t.Helper()
	n, err := huanxin.ParseNumber(number)
	must(t, err)
	word, err := auth.NumberGrant(w.keys[carrierClient], carrierClient, w.URL, app, n, time.Now())
	must(t, err)
	return w.exchangeWord(app, word)
}

func (w *world) exchangeWord(app, word string) answer {
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {word}}
	return w.do(call{method: "POST", path: "/oauth2/token", body: form.Encode(),
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": w.basic(app)}})
}

func (w *world) boundToken(t *testing.T, carrierClient, app, number string) string {
	t.Helper()
	a := w.exchange(t, carrierClient, app, number)
	var got tokenAnswer
	a.into(t, &got)
	if a.status != 200 || got.TokenType != "Bearer" || got.ExpiresIn <= 0 || got.ExpiresIn > 900 || got.Scope != "number-recycling:check" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return got.AccessToken
}

func TestATokenBoundToANumberIsForTheCheckOfThatNumberAlone(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		camara(t, w)
		w.vouching("cmcc-key", "cmcc")
		token := w.boundToken(t, "cmcc-key", "shop", again)
		for days, want := range map[float64]string{800: "true", 50: "false", -2: "OUT_OF_RANGE"} {
			if a := w.recycling(t, bearing(token, `{"specifiedDate":"`+w.date(days)+`"}`)); a.says() != want {
				t.Errorf("%v days ago: %s, want %s", days, a.says(), want)
			}
		}
		if strings.Contains(token, "2002") && strings.Contains(decoded(t, token), again[1:]) || strings.Contains(decoded(t, token), "tel:") {
			t.Errorf("the token shows the number: %s", decoded(t, token))
		}
		for _, rt := range httpapi.Routes() {
			if rt.Scope == "" || rt.Path == recycling {
				continue
			}
			path := parameter.ReplaceAllString(rt.Path, "x")
			a := w.do(call{method: rt.Method, path: path, body: "{}", header: map[string]string{"Authorization": "Bearer " + token}})
			if a.status != 403 || rt.Errors == nil && a.Code != "insufficient_scope" {
				t.Errorf("%s %s: %d %s", rt.Method, path, a.status, a.body)
			}
		}
	})
}

func TestABoundTokenStopsWhenTheNumberComesIntoOtherHands(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		camara(t, w)
		w.vouching("cmcc-key", "cmcc")
		w.vouching("unicom-key", "unicom")
		at := func(minutes int) time.Time { return w.now.Add(time.Duration(minutes-60) * time.Minute) }
		check := func(token string) string {
			a := w.recycling(t, bearing(token, `{"specifiedDate":"`+w.date(0)+`"}`))
			return a.says()
		}
		report := func(carrier string, e client.Event) {
			t.Helper()
			r, err := w.as(carrier).ReportEvents(t.Context(), []client.Event{e}, time.Time{})
			must(t, err)
			equal(t, "accepted of "+e.ID, r.Accepted, 1)
		}
		word := func(carrierClient, number, want string) {
			t.Helper()
			if a := w.exchange(t, carrierClient, "shop", number); !strings.Contains(string(a.body), want) {
				t.Errorf("%s about a number: %d %s", carrierClient, a.status, a.body)
			}
		}

		token := w.boundToken(t, "cmcc-key", "shop", constant)
		report("cmcc", client.Event{ID: "suspended", Number: constant, Kind: "suspended", At: at(1)})
		equal(t, "while the number is suspended", check(token), "false")
		report("unicom", client.Event{ID: "ported", Number: constant, Kind: "ported", At: at(2)})
		equal(t, "after the holder took the number to another carrier", check(token), "UNAUTHENTICATED")
		word("cmcc-key", constant, "invalid_grant")
		token = w.boundToken(t, "unicom-key", "shop", constant)
		equal(t, "at the new carrier's word", check(token), "false")
		report("unicom", client.Event{ID: "transferred", Number: constant, Kind: "transferred", At: at(3)})
		equal(t, "after the number passed to another holder", check(token), "UNAUTHENTICATED")
		token = w.boundToken(t, "unicom-key", "shop", constant)
		report("unicom", client.Event{ID: "disconnected", Number: constant, Kind: "disconnected", At: at(4)})
		equal(t, "after the number was given up", check(token), "UNAUTHENTICATED")
		word("unicom-key", constant, "invalid_grant")
		report("unicom", client.Event{ID: "reinstated", Number: constant, Kind: "reinstated", At: at(5)})
		eventually(t, "the token is good again when the same holder got the number back", 10*time.Second, func() bool { return check(token) == "false" })
		w.Disable("unicom", true)
		eventually(t, "the token stops with the carrier that gave its word", 10*time.Second, func() bool { return check(token) == "UNAUTHENTICATED" })

		token = w.boundToken(t, "cmcc-key", "shop", again)
		w.Disable("shop", true)
		eventually(t, "the token stops with its app", 10*time.Second, func() bool { return check(token) == "UNAUTHENTICATED" })
	})
}

func TestTheHubTakesACarriersWordAboutItsOwnNumbersAlone(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		camara(t, w)
		w.vouching("cmcc-key", "cmcc")
		w.vouching("unicom-key", "unicom")
		w.vouching("cmcc-reports", "cmcc", huanxin.ScopeNumbersReport)
		w.vouching("bank-key", "bank", huanxin.ScopeNumberRecycling)
		for what, c := range map[string]struct{ who, number string }{
			"another carrier's number":      {"unicom-key", constant},
			"a number that nobody holds":    {"cmcc-key", unsold},
			"a number never seen":           {"cmcc-key", unheard},
			"a client that may not":         {"cmcc-reports", constant},
			"an app that vouches by itself": {"bank-key", constant},
		} {
			a := w.exchange(t, c.who, "shop", c.number)
			var got struct {
				Error string `json:"error"`
			}
			a.into(t, &got)
			if a.status != 400 || got.Error != "invalid_grant" {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		w.boundToken(t, "cmcc-key", "shop", constant)
		s := &stage{world: w, db: w.open()}
		s.auditIsClean()
		for _, q := range []struct {
			what, query string
			n           int
		}{
			{"words taken", "SELECT COUNT(*) FROM audit WHERE action = 'token.bind' AND refused = '' AND subject = 'shop'", 1},
			{"words about numbers of others", "SELECT COUNT(*) FROM audit WHERE action = 'token.bind' AND refused = 'not_serving' AND subject = 'shop'", 3},
			{"words of those who may not", "SELECT COUNT(*) FROM audit WHERE action = 'token.bind' AND refused = 'insufficient_scope'", 2},
		} {
			var n int
			must(t, s.db.QueryRow(q.query).Scan(&n))
			equal(t, "recorded of "+q.what, n, q.n)
		}
	})
}

func TestACarriersWordIsForOneAppAndOnce(t *testing.T) {
	w := startWorld(t)
	camara(t, w)
	w.vouching("cmcc-key", "cmcc")
	n, err := huanxin.ParseNumber(constant)
	must(t, err)
	word, err := auth.NumberGrant(w.keys["cmcc-key"], "cmcc-key", w.URL+"/oauth2/token", "shop", n, time.Now())
	must(t, err)
	for i, app := range []string{"bank", "shop", "shop"} {
		a := w.exchangeWord(app, word)
		if want := []int{400, 200, 400}[i]; a.status != want {
			t.Errorf("%d: by %s: %d %s", i, app, a.status, a.body)
		}
	}
}
