package httpapi

import (
	"bytes"
	"os"
	"testing"
)

const golden = "../../api/openapi.yaml"

// The document is emitted from the route table, and kept as a file for those who read the contract without running a hub.
// HUANXIN_UPDATE=1 writes it; whoever changes the contract raises Version, else it is not written.
func TestTheContractInTheRepositoryIsTheOneThatIsServed(t *testing.T) {
	doc, err := OpenAPI(title, Version, Routes())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(doc, []byte("openapi: 3.1.")) {
		t.Errorf("the first line is %q", bytes.SplitN(doc, []byte("\n"), 2)[0])
	}
	kept, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("HUANXIN_UPDATE") == "1" {
		version := []byte("\n  version: " + Version + "\n")
		if bytes.Contains(kept, version) && !bytes.Equal(kept, doc) {
			t.Fatalf("the contract changed, and its Version is still %s", Version)
		}
		if err := os.WriteFile(golden, doc, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(kept, doc) {
		t.Errorf("api/openapi.yaml is not what the routes say: raise Version if the contract changed, then run HUANXIN_UPDATE=1 go test ./internal/httpapi -run Contract")
	}
}
