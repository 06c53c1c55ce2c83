package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// The paths of stream management, as the metadata names them (SSF 1.0 §7.1).
const (
	ssfMetadataPath = "/.well-known/ssf-configuration"
	ssfStreamsPath  = "/ssf/streams"
	ssfStatusPath   = "/ssf/status"
	ssfAddPath      = "/ssf/subjects:add"
	ssfRemovePath   = "/ssf/subjects:remove"
	ssfBatchPath    = "/ssf/subjects:batch"
	ssfVerifyPath   = "/ssf/verify"
)

// maxSSF bounds a document of stream management.
const maxSSF = 1 << 17

func (a *api) ssfRoutes() []Route {
	const tag = "Event feed"
	manage := func(rt Route, further ...string) Route {
		rt.Tag, rt.Scope, rt.Party, rt.Limit = tag, huanxin.ScopeSSFManage, huanxin.AppParty, maxSSF
		return inSSFsForm(rt, further...)
	}
	read := func(rt Route, further ...string) Route {
		rt.Tag, rt.Scope = tag, anyScope
		rt.Description = strings.TrimSpace("With the scope ssf.read or ssf.manage. " + rt.Description)
		return inSSFsForm(rt, further...)
	}
	named := []Param{{Name: "stream_id", Required: true}}
	const null = " null takes a member away."
	return []Route{
		inSSFsForm(Route{Method: "GET", Path: ssfMetadataPath, Tag: tag, Summary: "Metadata of the transmitter (SSF 1.0 §7)",
			Description: "Of an issuer with a path it is served behind this path too, followed by the issuer's.",
			Answer:      JSON(ssfMetadata{}), Handler: jsonHandler(http.StatusOK, a.ssfMetadata)}),
		manage(Route{Method: "POST", Path: ssfStreamsPath, Summary: "Create a stream (SSF 1.0 §8.1.1.1)", Idempotent: true,
			Description: "It begins at the head of the feed and tells of what happens from then on. Without delivery it is polled. A client may have 5 streams. 404 says that the stream which was made under this Idempotency-Key is deleted.",
			Body:        JSON(streamAsked{}), Status: http.StatusCreated, Answer: JSON(streamConfig{}), Handler: a.createStream},
			"too_many_streams", "idempotency_conflict", "in_flight", "not_found"),
		read(Route{Method: "GET", Path: ssfStreamsPath, Summary: "Read a stream, or list all of the client's (SSF 1.0 §8.1.1.2)",
			Description: "A list unless stream_id is given. Without ssf.manage an authorization_header shows as " + huanxin.HiddenHeader + ".",
			Query:       []Param{{Name: "stream_id", Doc: "The stream to read. Without it the answer is a list."}},
			Answer:      JSON(oneOrMany{}), Handler: jsonHandler(http.StatusOK, a.readStreams)}, "not_found"),
		manage(Route{Method: "PATCH", Path: ssfStreamsPath, Summary: "Change a stream (SSF 1.0 §8.1.1.3)",
			Description: "What is not given stays, of delivery too unless its method changes." + null + " What is the hub's to say may be repeated, but not otherwise.",
			Body:        JSON(streamChange{}), Answer: JSON(streamConfig{}), Handler: a.changeStream(a.hub.PatchStream)}, "not_found"),
		manage(Route{Method: "PUT", Path: ssfStreamsPath, Summary: "Replace a stream's configuration (SSF 1.0 §8.1.1.4)",
			Description: "What is not given is taken away, an authorization_header too; without delivery the stream is polled.",
			Body:        JSON(streamChange{}), Answer: JSON(streamConfig{}), Handler: a.changeStream(a.hub.ReplaceStream)}, "not_found"),
		manage(Route{Method: "DELETE", Path: ssfStreamsPath, Summary: "Delete a stream (SSF 1.0 §8.1.1.5)", Query: named,
			Status: http.StatusNoContent, Handler: jsonHandler(http.StatusNoContent, a.deleteStream)}, "not_found"),
		read(Route{Method: "GET", Path: ssfStatusPath, Summary: "Read a stream's status (SSF 1.0 §8.1.2.1)", Query: named,
			Answer: JSON(streamStatus{}), Handler: jsonHandler(http.StatusOK, a.streamStatus)}, "not_found"),
		manage(Route{Method: "POST", Path: ssfStatusPath, Summary: "Set a stream's status (SSF 1.0 §8.1.2.2)",
			Description: "A paused stream holds what comes: notifications for 30 days, tasks as long as they are open. A disabled one holds nothing, and begins at the head of the feed when it is anything else again.",
			Body:        JSON(streamStatus{}), Answer: JSON(streamStatus{}), Handler: a.setStreamStatus}, "not_found"),
		manage(Route{Method: "POST", Path: ssfAddPath, Summary: "Add a subject to a stream (SSF 1.0 §8.1.3.2)",
			Description: "Phone numbers alone count (RFC 9493 §3.2.5); a subject of another format is taken and makes no difference. 200 does not say that the number is known.",
			Body:        JSON(subjectAdded{}), Handler: a.changeSubject(false, http.StatusOK)}, "not_found", "too_many_subjects"),
		manage(Route{Method: "POST", Path: ssfRemovePath, Summary: "Remove a subject from a stream (SSF 1.0 §8.1.3.3)",
			Description: "What the hub holds about it already may still come. What was told of it may still be taken back.",
			Body:        JSON(subjectNamed{}), Status: http.StatusNoContent, Handler: a.changeSubject(true, http.StatusNoContent)}, "not_found", "too_many_subjects"),
		manage(Route{Method: "POST", Path: ssfBatchPath, Summary: "Add and remove many subjects",
			Description: "Ours: SSF has no such call. Any number of lines, in order, by the rules of the single calls; a line is a subject, which is added, or an object with op and subject. " +
				"Sending them again changes nothing. Codes of refused lines: those of any line-wise body, malformed_subject, unknown_format, unknown_op, number_malformed and too_many_subjects.",
			Query: named, Body: NDJSON(subjectLine{}), Answer: JSON(receipt{}), Handler: a.changeSubjects}, "not_found"),
		manage(Route{Method: "POST", Path: ssfVerifyPath, Summary: "Have a verification event sent (SSF 1.0 §8.1.4.2)",
			Description: "It comes within seconds, before anything else that waits.",
			Body:        JSON(verification{}), Status: http.StatusNoContent, Handler: a.verifyStream}, "not_found", "stream_not_enabled", "too_many_requests"),
	}
}

// atIssuersPath gives the well-known routes once more where RFC 8414 §3.1 and SSF 1.0 §7.2 look for them if the issuer has a path: it follows
// theirs.
func atIssuersPath(routes []Route, issuer string) []Route {
	u, err := url.Parse(issuer)
	if err != nil || strings.Trim(u.Path, "/") == "" || strings.ContainsAny(u.Path, "{}") {
		return nil
	}
	var out []Route
	for _, rt := range routes {
		if rt.Path == ssfMetadataPath || rt.Path == auth.MetadataPath {
			rt.Path += strings.TrimSuffix(u.Path, "/")
			out = append(out, rt)
		}
	}
	return out
}

// ssfMetadata is what the transmitter says of itself (SSF 1.0 §7.1).
type ssfMetadata struct {
	SpecVersion     string      `json:"spec_version" enum:"1_0"`
	Issuer          string      `json:"issuer"`
	JWKSURI         string      `json:"jwks_uri"`
	Methods         []string    `json:"delivery_methods_supported"`
	Configuration   string      `json:"configuration_endpoint"`
	Status          string      `json:"status_endpoint"`
	AddSubject      string      `json:"add_subject_endpoint"`
	RemoveSubject   string      `json:"remove_subject_endpoint"`
	Verification    string      `json:"verification_endpoint"`
	Schemes         []ssfScheme `json:"authorization_schemes"`
	DefaultSubjects string      `json:"default_subjects" enum:"ALL,NONE" doc:"Whether new streams hear of every number or of those that are added; a client's contract may narrow ALL to NONE."`
}

type ssfScheme struct {
	SpecURN string `json:"spec_urn"`
}

func (a *api) ssfMetadata(context.Context, *http.Request, None) (ssfMetadata, error) {
	subjects := "NONE"
	if a.hub.TellsOfAll() {
		subjects = "ALL"
	}
	return ssfMetadata{SpecVersion: "1_0", Issuer: a.issuer, JWKSURI: a.issuer + auth.JWKSPath,
		Methods:       []string{huanxin.DeliverByPush.String(), huanxin.DeliverByPoll.String()},
		Configuration: a.issuer + ssfStreamsPath, Status: a.issuer + ssfStatusPath, AddSubject: a.issuer + ssfAddPath,
		RemoveSubject: a.issuer + ssfRemovePath, Verification: a.issuer + ssfVerifyPath,
		Schemes: []ssfScheme{{"urn:ietf:rfc:6749"}}, DefaultSubjects: subjects}, nil
}

func (a *api) createStream(w http.ResponseWriter, r *http.Request) error {
	in, err := readMembers(w, r)
	if err != nil {
		return err
	}
	doc, err := in.streamDoc(false)
	if err != nil {
		return err
	}
	got, err := a.hub.CreateStream(r.Context(), CallerFrom(r.Context()), a.issuer, doc, once(r.Context(), r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, a.streamConfig(got))
}

func (a *api) readStreams(ctx context.Context, r *http.Request, _ None) (oneOrMany, error) {
	id, err := streamParam(r)
	if err != nil {
		return oneOrMany{}, err
	}
	if id == nil {
		all, err := a.hub.Streams(ctx, CallerFrom(ctx), a.issuer)
		return oneOrMany{many: mapped(all, a.streamConfig)}, err
	}
	got, err := a.hub.Stream(ctx, CallerFrom(ctx), a.issuer, *id)
	one := a.streamConfig(got)
	return oneOrMany{one: &one}, err
}

// streamParam gives the parameter stream_id; nil: there is none.
func streamParam(r *http.Request) (*string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, huanxin.Errorf(huanxin.Invalid, "malformed_query", "the query is not of the form name=value&…, percent-encoded")
	}
	switch all := query["stream_id"]; len(all) {
	case 0:
		return nil, nil
	case 1:
		return &all[0], nil
	}
	return nil, badField("stream_id", "unknown_parameter", "comes twice")
}

func neededStream(r *http.Request) (string, error) {
	id, err := streamParam(r)
	if err == nil && (id == nil || *id == "") {
		err = badField("stream_id", "required", "must be given")
	}
	if err != nil {
		return "", err
	}
	return *id, nil
}

func (a *api) changeStream(use func(ctx context.Context, who huanxin.Caller, issuer, id string, doc huanxin.StreamDoc) (core.Stream, error)) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		in, err := readMembers(w, r)
		if err != nil {
			return err
		}
		m := memberReader{in: in}
		id := m.needed("stream_id")
		if m.err != nil {
			return m.err
		}
		doc, err := in.streamDoc(true)
		if err != nil {
			return err
		}
		got, err := use(r.Context(), CallerFrom(r.Context()), a.issuer, id, doc)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, a.streamConfig(got))
	}
}

func (a *api) deleteStream(ctx context.Context, r *http.Request, _ None) (None, error) {
	id, err := neededStream(r)
	if err != nil {
		return None{}, err
	}
	return None{}, a.hub.DeleteStream(ctx, CallerFrom(ctx), id)
}

func (a *api) streamStatus(ctx context.Context, r *http.Request, _ None) (streamStatus, error) {
	id, err := neededStream(r)
	if err != nil {
		return streamStatus{}, err
	}
	got, err := a.hub.Stream(ctx, CallerFrom(ctx), a.issuer, id)
	return statusOf(got), err
}

func (a *api) setStreamStatus(w http.ResponseWriter, r *http.Request) error {
	in, err := readMembers(w, r)
	if err != nil {
		return err
	}
	m := memberReader{in: in}
	id, word, reason := m.needed("stream_id"), m.needed("status"), readAs[string](&m, "reason")
	if m.err != nil {
		return m.err
	}
	to, err := huanxin.ParseStreamStatus(word)
	if err != nil {
		return err
	}
	got, err := a.hub.SetStreamStatus(r.Context(), CallerFrom(r.Context()), id, to, valueOf(reason))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, statusOf(got))
}

func (a *api) verifyStream(w http.ResponseWriter, r *http.Request) error {
	in, err := readMembers(w, r)
	if err != nil {
		return err
	}
	m := memberReader{in: in}
	id, state := m.needed("stream_id"), readAs[string](&m, "state")
	if m.err != nil {
		return m.err
	}
	if err := a.hub.VerifyStream(r.Context(), CallerFrom(r.Context()), id, valueOf(state)); err != nil {
		return err
	}
	return writeJSON(w, http.StatusNoContent, None{})
}
