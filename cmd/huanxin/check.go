package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	hubapi "github.com/huanxin-platform/huanxin/client"
)

func check(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("check", flag.ContinueOnError)
	var hub hubClient
	hub.add(f)
	since := f.String("since", "", "T: a `date` 2024-01-31 (its last instant in the national time zone; today: now), or a date-time with an offset")
	asJSON := f.Bool("json", false, "print JSON for programs")
	words, err := parse(f, args, 1, "check NUMBER|- --since DATE|DATETIME [--hub URL] [--json]\n"+
		"With - the number is read from standard input, and stays out of the shell's history and the list of processes.")
	if err != nil {
		return err
	}
	if *since == "" {
		return usageError(say("check: 自何时起?请给出 --since", "check: since when? Give --since"))
	}
	number := words[0]
	if number == "-" {
		if number, err = oneLine(os.Stdin); err != nil {
			return err
		}
	}
	if _, err := huanxin.ParseNumber(number); err != nil {
		return err
	}
	if _, err := huanxin.ParseSince(*since); err != nil {
		return err
	}
	c, err := hub.open()
	if err != nil {
		return err
	}
	asOf, answer, err := c.Check(ctx, number, *since)
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(os.Stdout, asOf, answer)
	}
	return printAnswer(os.Stdout, asOf, answer)
}

// oneLine reads what must be one line.
func oneLine(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, 1<<10))
	line, more, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	switch {
	case err != nil:
		return "", err
	case line == "":
		return "", usageError(say("check: 标准输入里什么也没有:- 表示从标准输入读一个号码", "check: there is nothing on standard input, from which - reads a number"))
	case more != "":
		return "", usageError(say("check: 标准输入里不止一行:一次只核验一个号码;多个号码请用 huanxin match", "check: there is more than one line on standard input: one number is checked at a time; huanxin match takes many"))
	}
	return strings.TrimSpace(line), nil
}

func printJSON(w io.Writer, asOf int64, a hubapi.Checked) error {
	return json.NewEncoder(w).Encode(struct {
		Outcome string     `json:"outcome"`
		Reason  string     `json:"reason,omitempty"`
		AsOf    int64      `json:"as_of"`
		FreshAt *time.Time `json:"fresh_at,omitempty"`
	}{a.Outcome, a.Reason, asOf, a.FreshAt})
}

// outcomeWords say what an outcome means.
var outcomeWords = map[string][2]string{
	"UNCHANGED": {"机主没有变", "the holder has not changed"},
	"CHANGED":   {"机主变了", "the holder has changed"},
	"NO_HOLDER": {"现在无人持有", "nobody holds the number now"},
	"UNKNOWN":   {"不知道,不可当作没有变", "it cannot be told, which is not a no"},
}

// reasonWords say what a reason means.
var reasonWords = map[string][2]string{
	huanxin.CheckReassigned:     {"号码重新放出", "the number was given to somebody else"},
	huanxin.CheckTransferred:    {"过户", "the number was transferred"},
	huanxin.CheckFuture:         {"时间在将来", "the time lies in the future"},
	huanxin.CheckUnsupported:    {"不服务这类号码", "numbers of this kind are not served"},
	huanxin.CheckNeverSeen:      {"从未见过这个号码", "the number was never seen"},
	huanxin.CheckBeforeCoverage: {"早于已知的数据", "the time lies before what is known"},
	huanxin.CheckCarrierLate:    {"运营商的数据来得太晚", "the carrier's data is too old"},
}

func worded(words map[string][2]string, key string) string {
	w, ok := words[key]
	if !ok {
		return key
	}
	return fmt.Sprintf(say("%s(%s)", "%s (%s)"), key, say(w[0], w[1]))
}

func printAnswer(w io.Writer, asOf int64, a hubapi.Checked) error {
	var err error
	line := func(zh, en, value string) {
		if value != "" && err == nil {
			_, err = fmt.Fprintf(w, "%s: %s\n", say(zh, en), value)
		}
	}
	line("结果", "outcome", worded(outcomeWords, a.Outcome))
	line("原因", "reason", worded(reasonWords, a.Reason))
	line("号码日志位置", "as of", fmt.Sprintf(say("%d(此前的事件都已计入)", "%d (every event up to it is in the answer)"), asOf))
	if a.FreshAt != nil {
		line("运营商已报齐至", "fresh at", a.FreshAt.Format(time.RFC3339)+say(",此前的变化运营商都已报告", ", until when the carrier has told everything"))
	}
	return err
}
