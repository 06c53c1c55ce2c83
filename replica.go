package huanxin

// ReplicaGrant is which replica of the number index an app's contract grants: "only numbers that the app itself uploaded, days
// and not times, unless a contract in the registry grants more" (DOMAIN.md §7 rule 5). Without a contract there is none.
type ReplicaGrant uint8

// The grants.
const (
	NoReplica       ReplicaGrant = iota
	ReplicaUploaded              // of the numbers that the app uploaded
	ReplicaWhole                 // of every number
)

var replicaGrants = enum[ReplicaGrant]{what: "replica", names: []string{1: "none", 2: "uploaded", 3: "whole"}}

// String gives the grant's word.
func (g ReplicaGrant) String() string { return replicaGrants.name(g + 1) }

// ParseReplicaGrant reads a grant's word: none, uploaded or whole.
func ParseReplicaGrant(s string) (ReplicaGrant, error) {
	g, err := replicaGrants.parse(s)
	if err != nil {
		return NoReplica, err
	}
	return g - 1, nil
}

// MayReplicate refuses what only an app with a contract about replicas may do.
func (g ReplicaGrant) MayReplicate() error {
	if g == NoReplica {
		return Errorf(Forbidden, "no_contract", "the registry holds no contract that grants this app a replica of the number index")
	}
	return nil
}
