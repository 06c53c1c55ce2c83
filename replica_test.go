package huanxin_test

import (
	"testing"

	"github.com/huanxin-platform/huanxin"
)

func TestAReplicaNeedsAContract(t *testing.T) {
	for word, g := range map[string]huanxin.ReplicaGrant{"none": huanxin.NoReplica, "uploaded": huanxin.ReplicaUploaded, "whole": huanxin.ReplicaWhole} {
		if got, err := huanxin.ParseReplicaGrant(word); err != nil || got != g || got.String() != word {
			t.Errorf("%s: %v, %v", word, got, err)
		}
		err := g.MayReplicate()
		if refused := huanxin.CodeOf(err) == "no_contract" && huanxin.KindOf(err) == huanxin.Forbidden; refused != (g == huanxin.NoReplica) {
			t.Errorf("%s: %v", word, err)
		}
	}
	var app huanxin.Party
	if app.Replica != huanxin.NoReplica {
		t.Error("a party has a contract unless told otherwise")
	}
	for _, word := range []string{"", "replica(0)", "WHOLE", "all"} {
		if g, err := huanxin.ParseReplicaGrant(word); huanxin.CodeOf(err) != "invalid" || g != huanxin.NoReplica {
			t.Errorf("%q: %v, %v", word, g, err)
		}
	}
}
