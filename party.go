package huanxin

import (
	"slices"
	"strings"
	"time"
)

// PartyKind is what a party is in the service.
type PartyKind uint8

// The kinds of party.
const (
	CarrierParty PartyKind = iota + 1
	AppParty
	RegulatorParty
	OperatorParty // runs the hub
)

var partyKinds = enum[PartyKind]{what: "kind", names: []string{1: "carrier", 2: "app", 3: "regulator", 4: "admin"}}

// String gives the word of the contract.
func (k PartyKind) String() string { return partyKinds.name(k) }

// ParsePartyKind reads a party kind's word.
func ParsePartyKind(s string) (PartyKind, error) { return partyKinds.parse(s) }

// PartyNo is a party's number inside the hub: small, never shown.
type PartyNo int64

// Party is a carrier, an app, a regulator or the operator of the hub, as the registry knows it.
type Party struct {
	No     PartyNo
	ID     string // chosen at registration, shown to everyone: [a-z0-9-]{1,64}
	Kind   PartyKind
	NameZh string
	NameEn string
	// Class of an app: see HighValueClasses.
	Class string
	// Kinds of task that an app serves.
	Kinds []TaskKind
	// Domains are those on which an app's links may lie (DOMAIN.md §7 rule 3); their subdomains are included.
	Domains []string
	// ReleaseDelay is how long after the first slot an app's results are first shown (DOMAIN.md §7 rule 4). Fixed per app.
	ReleaseDelay time.Duration
	// Replica is what an app's contract grants it of the number index.
	Replica ReplicaGrant
	// FeedStart says that an app's contract grants it the start of a tenure in identifier-recycled (DOMAIN.md §7 rule 5).
	FeedStart bool
	// Hold is an app's kill switch: while it is set, its agent does nothing to accounts. Tasks go on, and so does their clock.
	Hold bool
	// NotJoined says that an app takes no part yet: people see it listed and can say that they want it, and nothing is asked of it. Its
	// clients are let in as their scopes say: it prepares, or finishes what it was asked before it left.
	NotJoined bool
	// OnePerNumber says that an app lets one number have one account, so that a stale binding keeps its holder from registering.
	OnePerNumber bool
	// CoolingDays is how long a carrier freezes a cancelled number: at least 90.
	CoolingDays int
	// Contact is told of every step of the clock.
	Contact  Contact
	Disabled bool
}

// Contact is a party's named person and where signed messages for them go.
type Contact struct {
	Name    string
	Email   string
	Webhook string // an https URL; empty: steps are only listed
}

// MinCoolingDays is how long a cancelled number is frozen in China at least.
const MinCoolingDays = 90

// HighValueClasses gives the classes of app that lose the number as a key at delivery and are final 24 hours later (DOMAIN.md §6).
func HighValueClasses() []string {
	return []string{"payment", "lending", "cloud_storage", "mail", "messaging", "government"}
}

// HighValue reports whether an app's class is one of payment, lending, cloud storage, mail, messaging, government.
func (p *Party) HighValue() bool { return slices.Contains(HighValueClasses(), p.Class) }

// Serves reports whether the app does tasks of kind k.
func (p *Party) Serves(k TaskKind) bool { return slices.Contains(p.Kinds, k) }

// Client is a program of a party that may ask for tokens.
type Client struct {
	ID    string
	Party Party
	// Scopes are all that its tokens may carry.
	Scopes Scopes
	// SecretHash is SHA-256 of a 256-bit random secret; empty where the registry allows none.
	SecretHash []byte
	// JWKS is the client's public keys as a JSON Web Key Set, for private_key_jwt.
	JWKS []byte
	// Limits of its checks, by contract; 0: the hub's default.
	ChecksPerSecond, ChecksPerDay int64
	// FeedNarrow says that its streams hear only of numbers that were added to them, whatever the hub's default.
	FeedNarrow bool
	// FeedAlg is by which algorithm its SETs are signed (RFC 7518 §3.1): ES256 (also if empty), EdDSA or RS256.
	FeedAlg  string
	Disabled bool
}

// Scope is a permission that a token carries.
type Scope string

// The scopes of the contract.
const (
	ScopeNumbersReport   Scope = "numbers.report"
	ScopeNumbersCheck    Scope = "numbers.check"
	ScopeNumberRecycling Scope = "number-recycling:check"
	ScopeRequestsCreate  Scope = "requests.create"
	ScopeRequestsRead    Scope = "requests.read"
	ScopeTasksWork       Scope = "tasks.work"
	ScopeLotsReport      Scope = "lots.report"
	ScopeLotsWork        Scope = "lots.work"
	ScopeCasesWork       Scope = "cases.work"
	ScopeStatisticsRead  Scope = "statistics.read"
	ScopeSSFRead         Scope = "ssf.read"
	ScopeSSFManage       Scope = "ssf.manage"
	ScopeAdmin           Scope = "admin"
)

var scopesOfKind = map[PartyKind]Scopes{
	CarrierParty: {ScopeNumbersReport, ScopeRequestsCreate, ScopeRequestsRead, ScopeLotsReport, ScopeCasesWork},
	AppParty: {ScopeNumbersCheck, ScopeNumberRecycling, ScopeTasksWork, ScopeLotsWork, ScopeCasesWork,
		ScopeSSFRead, ScopeSSFManage},
	RegulatorParty: {ScopeStatisticsRead, ScopeCasesWork},
	OperatorParty:  {ScopeAdmin, ScopeStatisticsRead, ScopeCasesWork},
}

// Scopes is a set of scopes in the order of the contract.
type Scopes []Scope

// ScopesOf gives every scope that a client of a party of this kind may be allowed.
func ScopesOf(k PartyKind) Scopes { return scopesOfKind[k] }

// Has reports whether s is in the set.
func (ss Scopes) Has(s Scope) bool { return slices.Contains(ss, s) }

// String joins the scopes with blanks, as RFC 6749 §3.3 writes them.
func (ss Scopes) String() string {
	words := make([]string, len(ss))
	for i, s := range ss {
		words[i] = string(s)
	}
	return strings.Join(words, " ")
}

// ParseScopes splits a blank-separated list. It does not judge the words: an allowance does.
func ParseScopes(s string) Scopes {
	var out Scopes
	for _, w := range strings.Fields(s) {
		if !out.Has(Scope(w)) {
			out = append(out, Scope(w))
		}
	}
	return out
}
