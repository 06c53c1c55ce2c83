package core_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// useCases are all that a caller may be refused, with who may: the party of the kind whose token carries the scope.
var useCases = []struct {
	name   string
	action string
	kind   huanxin.PartyKind
	scope  huanxin.Scope
	do     func(w *world, who huanxin.Caller) error
}{
	{"ReportEvents", "events.begin", huanxin.CarrierParty, huanxin.ScopeNumbersReport, func(w *world, who huanxin.Caller) error {
		_, err := w.ReportEvents(context.Background(), who, eventLines(activated("p", 99, huanxin.ActivatedFirst, ago(time.Hour))), time.Time{})
		return err
	}},
	{"CreateRequest", "request.create", huanxin.CarrierParty, huanxin.ScopeRequestsCreate, func(w *world, who huanxin.Caller) error {
		_, err := w.CreateRequest(context.Background(), who, ask(98, ago(time.Hour), huanxin.OriginReassigned))
		return err
	}},
	{"CreateRequest under a key", "request.create", huanxin.CarrierParty, huanxin.ScopeRequestsCreate, func(w *world, who huanxin.Caller) error {
		in := ask(97, ago(time.Hour), huanxin.OriginReassigned)
		in.Once = core.Once{Key: "permission", Body: []byte("{}")}
		_, err := w.CreateRequest(context.Background(), who, in)
		return err
	}},
	{"Enrol", "parties.enrol", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		_, err := w.Enrol(context.Background(), who, nil, false)
		return err
	}},
	{"Request", "request.read", huanxin.CarrierParty, huanxin.ScopeRequestsRead, func(w *world, who huanxin.Caller) error {
		_, err := w.Request(context.Background(), who, "req_x")
		return err
	}},
	{"FindRequests", "request.find", huanxin.CarrierParty, huanxin.ScopeRequestsRead, func(w *world, who huanxin.Caller) error {
		_, err := w.FindRequests(context.Background(), who, number(1))
		return err
	}},
	{"CancelRequest", "request.cancel", huanxin.CarrierParty, huanxin.ScopeRequestsCreate, func(w *world, who huanxin.Caller) error {
		_, err := w.CancelRequest(context.Background(), who, "req_x")
		return err
	}},
	{"AskAgain", "task.again", huanxin.CarrierParty, huanxin.ScopeRequestsCreate, func(w *world, who huanxin.Caller) error {
		_, err := w.AskAgain(context.Background(), who, "req_x", "task_x", core.Once{})
		return err
	}},
	{"CreateStream", "stream.create", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		_, err := w.CreateStream(context.Background(), who, hubURL, huanxin.StreamDoc{}, core.Once{})
		return err
	}},
	{"CreateStream under a key", "stream.create", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		_, err := w.CreateStream(context.Background(), who, hubURL, huanxin.StreamDoc{}, core.Once{Key: "permission", Body: []byte("{}")})
		return err
	}},
	{"PatchStream", "stream.patch", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		_, err := w.PatchStream(context.Background(), who, hubURL, "st_x", huanxin.StreamDoc{})
		return err
	}},
	{"ReplaceStream", "stream.replace", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		_, err := w.ReplaceStream(context.Background(), who, hubURL, "st_x", huanxin.StreamDoc{})
		return err
	}},
	{"DeleteStream", "stream.delete", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		return w.DeleteStream(context.Background(), who, "st_x")
	}},
	{"SetStreamStatus", "stream.status", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		_, err := w.SetStreamStatus(context.Background(), who, "st_x", huanxin.StreamPaused, "")
		return err
	}},
	{"VerifyStream", "stream.verify", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		return w.VerifyStream(context.Background(), who, "st_x", "")
	}},
	{"ChangeSubject, adding", "subject.add", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		return w.ChangeSubject(context.Background(), who, "st_x", number(1), false)
	}},
	{"ChangeSubject, removing", "subject.remove", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		return w.ChangeSubject(context.Background(), who, "st_x", number(1), true)
	}},
	{"ChangeSubjects", "subjects.begin", huanxin.AppParty, huanxin.ScopeSSFManage, func(w *world, who huanxin.Caller) error {
		_, err := w.ChangeSubjects(context.Background(), who, "st_x", subjectLines(core.SubjectLine{Number: number(1)}))
		return err
	}},
	{"StreamsOfSelf", "app.self", huanxin.AppParty, huanxin.ScopeTasksWork, func(w *world, who huanxin.Caller) error {
		_, err := w.StreamsOfSelf(context.Background(), who)
		return err
	}},
	{"AllStreams", "stream.list_all", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		_, err := w.AllStreams(context.Background(), who)
		return err
	}},
	{"PauseStream", "stream.pause", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		return w.PauseStream(context.Background(), who, "st_x", "")
	}},
	{"EnableStream", "stream.enable", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		return w.EnableStream(context.Background(), who, "st_x", "")
	}},
	{"NarrowFeed", "client.feed", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		_, err := w.NarrowFeed(context.Background(), who, "none", true)
		return err
	}},
	{"GrantFeedStart", "party.put", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		return w.GrantFeedStart(context.Background(), who, "chat", true)
	}},
	{"BindToken", "token.bind", huanxin.CarrierParty, huanxin.ScopeRequestsCreate, func(w *world, who huanxin.Caller) error {
		if who.Party == nil {
			return who.May(huanxin.CarrierParty, huanxin.ScopeRequestsCreate) // the token endpoint knows every client
		}
		c := &huanxin.Client{ID: who.Client, Party: *who.Party, Scopes: who.Scopes}
		_, err := w.BindToken(context.Background(), c, auth.Vouched{Number: number(1), Client: "chat-1", TokenID: "jti"})
		return err
	}},
	{"Tasks", "task.list", huanxin.AppParty, huanxin.ScopeTasksWork, func(w *world, who huanxin.Caller) error {
		_, err := w.Tasks(context.Background(), who, 0, "", 10)
		return err
	}},
	{"Task", "task.read", huanxin.AppParty, huanxin.ScopeTasksWork, func(w *world, who huanxin.Caller) error {
		_, err := w.Task(context.Background(), who, "task_x")
		return err
	}},
	{"TasksByID", "task.read", huanxin.AppParty, huanxin.ScopeTasksWork, func(w *world, who huanxin.Caller) error {
		_, err := w.TasksByID(context.Background(), who, []string{"task_x"})
		return err
	}},
	{"Answer", "task.answer", huanxin.AppParty, huanxin.ScopeTasksWork, func(w *world, who huanxin.Caller) error {
		_, err := w.Answer(context.Background(), who, core.TaskAnswer{Task: "task_x"})
		return err
	}},
	{"Answers", "answers.begin", huanxin.AppParty, huanxin.ScopeTasksWork, func(w *world, who huanxin.Caller) error {
		_, err := w.Answers(context.Background(), who, func(func(core.TaskAnswer, error) bool) {})
		return err
	}},
	{"Escalations", "escalations.list", huanxin.AppParty, huanxin.ScopeTasksWork, func(w *world, who huanxin.Caller) error {
		_, err := w.Escalations(context.Background(), who, "", 10)
		return err
	}},
	{"UploadReplicaNumbers", "replica.upload.begin", huanxin.AppParty, huanxin.ScopeNumbersCheck, func(w *world, who huanxin.Caller) error {
		_, err := w.UploadReplicaNumbers(context.Background(), who, numberLines(some(1, 2)))
		return granted(err)
	}},
	{"RemoveReplicaNumbers", "replica.remove.begin", huanxin.AppParty, huanxin.ScopeNumbersCheck, func(w *world, who huanxin.Caller) error {
		_, err := w.RemoveReplicaNumbers(context.Background(), who, numberLines(some(1, 2)))
		return granted(err)
	}},
	{"BeginPull", "replica.pull.begin", huanxin.AppParty, huanxin.ScopeNumbersCheck, func(w *world, who huanxin.Caller) error {
		_, err := w.BeginPull(context.Background(), who, hubURL)
		return granted(err)
	}},
	{"GrantReplica", "party.put", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		return w.GrantReplica(context.Background(), who, "game", huanxin.NoReplica)
	}},
	{"PutParty", "party.put", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		p := *w.Party("game")
		return w.PutParty(context.Background(), who, p, false)
	}},
	{"DisableParty", "party.put", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		return w.DisableParty(context.Background(), who, "game", false)
	}},
	{"AddClient", "client.add", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		_, err := w.AddClient(context.Background(), who, core.NewClient{ID: "new", Party: "game", Secret: true})
		return err
	}},
	{"RotateClient", "client.rotate", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		_, err := w.RotateClient(context.Background(), who, "none", nil)
		return err
	}},
	{"LimitClient", "client.limit", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		_, err := w.LimitClient(context.Background(), who, "none", core.Limits{PerDay: new(int64(1))})
		return err
	}},
	{"RotateSigningKey", "key.rotate", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		return w.RotateSigningKey(context.Background(), who)
	}},
	{"SignFeedBy", "client.feed_alg", huanxin.OperatorParty, huanxin.ScopeAdmin, func(w *world, who huanxin.Caller) error {
		return w.SignFeedBy(context.Background(), who, "none", "EdDSA")
	}},
}

// granted takes the want of a contract for what it is: not a matter of scopes.
func granted(err error) error {
	if huanxin.CodeOf(err) == "no_contract" {
		return nil
	}
	return err
}

func TestAUseCaseIsRefusedToEveryoneElseAndTheRefusalIsRecorded(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		everyScope := huanxin.Scopes{}
		for _, k := range []huanxin.PartyKind{huanxin.CarrierParty, huanxin.AppParty, huanxin.RegulatorParty, huanxin.OperatorParty} {
			everyScope = append(everyScope, huanxin.ScopesOf(k)...)
		}
		for _, u := range useCases {
			for _, id := range []string{"cmcc", "chat", "miit", "ops"} {
				who := w.as(id, everyScope...)
				if who.Party.Kind == u.kind { // the right kind, and every scope but the one
					who.Scopes = slices.DeleteFunc(slices.Clone(everyScope), func(s huanxin.Scope) bool { return s == u.scope })
				} else if u.name == "Escalations" && who.Party.Kind == huanxin.RegulatorParty {
					who.Scopes = huanxin.Scopes{huanxin.ScopeCasesWork}
				}
				if err := u.do(w, who); huanxin.KindOf(err) != huanxin.Forbidden || huanxin.CodeOf(err) != "insufficient_scope" {
					t.Errorf("%s by %s: %v", u.name, id, err)
				}
				got := w.recorded()
				if got.Action != u.action || got.Refused != "insufficient_scope" || got.Party != who.Party.No || got.Client != who.Client {
					t.Errorf("%s by %s is recorded as %+v", u.name, id, got)
				}
			}
			before := len(w.audit(1))
			if err := u.do(w, huanxin.Caller{Scopes: everyScope}); huanxin.KindOf(err) != huanxin.Unauthenticated {
				t.Errorf("%s by nobody: %v", u.name, err)
			}
			if len(w.audit(1)) != before {
				t.Errorf("%s: nobody fills the audit log", u.name)
			}
		}
	})
}

func TestAUseCaseIsOpenToThePartyWithTheScopeAlone(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	for _, u := range useCases {
		id := map[huanxin.PartyKind]string{huanxin.CarrierParty: "cmcc", huanxin.AppParty: "chat", huanxin.OperatorParty: "ops"}[u.kind]
		if err := u.do(w, w.as(id, u.scope)); huanxin.KindOf(err) == huanxin.Forbidden {
			t.Errorf("%s: %v", u.name, err)
		}
	}
	if _, err := w.Escalations(t.Context(), w.as("miit", huanxin.ScopeStatisticsRead), "", 10); err != nil {
		t.Error(err)
	}
}

func TestTheAuditLogHoldsNoNumberEvenIfOneIsSentForAnID(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat"))
		k := w.task("chat")
		w.answers("chat", k, huanxin.Unbound, huanxin.Removed)
		const secret = "+8613800000001"
		ctx := context.Background()
		_, _ = w.CancelRequest(ctx, w.as("cmcc"), secret)
		_, _ = w.AskAgain(ctx, w.as("cmcc"), c.ID, secret, core.Once{})
		_, _ = w.AskAgain(ctx, w.as("cmcc"), secret, secret, core.Once{Key: "k", Body: []byte(secret)})
		_, _ = w.Answer(ctx, w.as("chat"), core.TaskAnswer{Task: secret, TenureID: secret, Digest: secret})
		_, _ = w.Task(ctx, w.as("chat"), secret)
		_, _ = w.TasksByID(ctx, w.as("chat"), []string{secret, secret})
		_, _ = w.FindRequests(ctx, w.as("cmcc"), number(1))
		_, _ = w.Escalations(ctx, w.as("chat"), secret, 10)
		s := w.makes(w.receives("chat"), huanxin.StreamDoc{})
		must(t, w.ChangeSubject(ctx, w.as("chat"), s.ID, number(1), false))
		must(t, w.VerifyStream(ctx, w.as("chat"), s.ID, secret))
		_, err := w.SetStreamStatus(ctx, w.as("chat"), s.ID, huanxin.StreamPaused, secret)
		must(t, err)
		_, _ = w.PatchStream(ctx, w.as("chat"), hubURL, secret, huanxin.StreamDoc{})
		_, err = w.PatchStream(ctx, w.as("chat"), hubURL, s.ID, huanxin.StreamDoc{Description: huanxin.Give(secret), Requested: huanxin.Give([]string{secret})})
		must(t, err)
		_, err = w.ChangeSubjects(ctx, w.as("chat"), s.ID, subjectLines(core.SubjectLine{Number: number(1), Remove: true}))
		must(t, err)
		_ = w.DeleteStream(ctx, w.as("chat"), secret)
		_ = w.PauseStream(ctx, core.Operator(), secret, secret)
		w.report("cmcc", huanxin.Event{ID: "x\x00" + secret, Number: number(1), Kind: huanxin.Suspended, At: ago(0)})
		for _, e := range w.audit(1) {
			if s := e.Subject + e.Detail + e.Refused + e.Action; strings.Contains(s, "3800000001") {
				t.Errorf("%s: %s", e.Action, s)
			}
		}
	})
}

func TestEachWriteHasOneAuditEntry(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		from := int64(len(w.audit(1))) + 1
		in := w.reassigned(1, "chat")
		c := w.creates(in)
		k := w.task("chat")
		w.answers("chat", k, huanxin.InReview, huanxin.AssetsHeld)
		_, err := w.CancelRequest(t.Context(), w.as("cmcc"), c.ID)
		must(t, err)
		want := []struct{ action, subject string }{{"events.begin", ""}, {"events.report", ""}, {"request.create", c.ID}, {"task.answer", k.ID},
			{"request.cancel", c.ID}}
		got := w.audit(from)
		if len(got) != len(want) {
			t.Fatalf("%d entries: %+v", len(got), got)
		}
		for i, e := range got {
			if e.Action != want[i].action || want[i].subject != "" && e.Subject != want[i].subject || e.Refused != "" || e.Party == 0 {
				t.Errorf("entry %d: %+v", i, e)
			}
		}
		if got[0].Subject == "" || got[0].Subject != got[1].Subject {
			t.Error("a report's entries do not name its receipt")
		}
	})
}
