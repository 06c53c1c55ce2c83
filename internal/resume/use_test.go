package resume_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/resume"
)

func TestOneFileHasOneRoleWhateverLinksLeadToIt(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(at("sub"), 0o700))
	for _, name := range []string{"file", "other", "sub/file"} {
		must(t, os.WriteFile(at(name), []byte(name), 0o600))
	}
	must(t, os.Link(at("file"), at("hard")))
	for name, to := range map[string]string{"soft": "file", "softer": "soft", "absolute": at("file"), "dangling": "nothing", "folder": "sub", "loop": "loop"} {
		must(t, os.Symlink(to, at(name)))
	}
	t.Chdir(dir)
	open, err := os.Open("file")
	must(t, err)
	defer open.Close()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	role := func(path string) resume.Role { return resume.Role{As: "a", Path: path} }
	for name, c := range map[string]struct {
		a, b resume.Role
		same bool
	}{
		"one path":                         {role(at("file")), role(at("file")), true},
		"a relative path":                  {role(at("file")), role("file"), true},
		"a roundabout path":                {role(at("file")), role("./sub/../file"), true},
		"a hard link":                      {role(at("file")), role(at("hard")), true},
		"a symbolic link":                  {role(at("file")), role(at("soft")), true},
		"a link to a link":                 {role(at("absolute")), role(at("softer")), true},
		"a file that is not there yet":     {role(at("nothing")), role("nothing"), true},
		"a link to what is not there yet":  {role(at("dangling")), role("nothing"), true},
		"through a link to its folder":     {role(at("sub/nothing")), role("folder/nothing"), true},
		"a link that leads to itself":      {role(at("loop")), role("loop"), true},
		"an open file":                     {resume.Role{As: "a", File: open}, role("hard"), true},
		"two open files":                   {resume.Role{As: "a", File: open}, resume.Role{As: "b", File: open}, true},
		"another file":                     {role(at("file")), role(at("other")), false},
		"another folder":                   {role(at("file")), role(at("sub/file")), false},
		"two files that are not there yet": {role("nothing"), role("sub/nothing"), false},
		"no file":                          {role(""), role(""), false},
		"no file and one":                  {role("file"), role(""), false},
		"a device that is no file":         {resume.Role{As: "a", File: null}, resume.Role{As: "b", File: null}, false},
	} {
		for _, roles := range [][]resume.Role{{c.a, c.b}, {c.b, c.a}, {role(at("sub")), c.b, role(""), c.a}} {
			if got := problem(resume.Distinct(roles...)) == resume.TwoRoles; got != c.same {
				t.Errorf("%s: same %v, want %v", name, got, c.same)
			}
		}
	}
	err = resume.Distinct(resume.Role{As: "input", Path: "file"}, resume.Role{As: "output", Path: "soft"})
	if err == nil || err.Error() != "soft cannot be both input and output" {
		t.Error(err)
	}
}
