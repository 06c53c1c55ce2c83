package lines_test

import (
	"slices"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/lines"
)

func TestWhyAHeaderIsProbablyWrong(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]lines.Cause{
		"Account,Number,Bound_At\r\n":             lines.OtherCase,
		"\"account\", number ,bound_at,name":      lines.OtherCase,
		"account;number;bound_at\n":               lines.Semicolons,
		"account\tnumber\tbound_at\n":             lines.Tabs,
		"\xff\xfea\x00c\x00":                      lines.UTF16,
		"a\x00c\x00c\x00":                         lines.UTF16,
		"1,+8613800000001,2020-01-01\n":           lines.NoHeader,
		"account,phone,since\n":                   lines.NoCause,
		"":                                        lines.NoCause,
		"account,mobile_number_2,bound_at_2024\n": lines.NoCause,
	} {
		if got := lines.CauseOf([]byte(line), "account", "number", "bound_at"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if got := lines.Shown([]string{"Account", "+8613800000001", "", "名"}); !slices.Equal(got, []string{"Account", "column 2", "column 3", "column 4"}) {
		t.Error(got)
	}
}
