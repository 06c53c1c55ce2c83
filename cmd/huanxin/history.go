package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	hubclient "github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/history"
	"github.com/huanxin-platform/huanxin/internal/resume"
)

const historyForm = "import-history --in FILE [--hub URL] [--covered-since DATE] [--complete-until TIME] [--rejected FILE] [--progress FILE] [--restart]"

func importHistory(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("import-history", flag.ContinueOnError)
	var hub hubClient
	hub.add(f)
	o := history.Options{}
	f.StringVar(&o.In, "in", "", "`file` of CSV with the columns number,tenure_started_at,origin; - is standard input, which cannot be gone on with")
	f.StringVar(&o.Progress, "progress", "", "`file` of what was loaded already (default: that of --in with .progress behind it)")
	f.BoolVar(&o.Restart, "restart", false, "begin anew; what was loaded already is known to the hub")
	f.StringVar(&o.Rejected, "rejected", "", "`file` that takes the refused lines as CSV: line,code,detail,id; one that is there must be such a list, and is replaced")
	f.StringVar(&o.Told.CoveredSince, "covered-since", "", "`date` from which the carrier knows every change of holder of its numbers; stated when no line was refused")
	until := f.String("complete-until", "", "`time` until when the carrier has now told everything, such as 2026-03-01T08:00:00+08:00; stated likewise")
	if _, err := parse(f, args, 0, historyForm); err != nil {
		return err
	}
	err := checkTold(&o.Told, *until, time.Now())
	if err == nil && o.In == "" {
		err = errors.New("which file? Give --in FILE")
	}
	if o.In == "-" {
		o.Stdin = os.Stdin
		if o.Progress != "" || o.Restart {
			err = errors.New("standard input cannot be gone on with: --progress and --restart do not go with --in -")
		}
	}
	if err != nil {
		return usageError("import-history: " + err.Error())
	}
	if o.Client, err = hub.open(); err != nil {
		return err
	}
	o.Target = hub.url + " as " + hub.id
	text := newWords()
	bar := newProgressBar(os.Stderr, text, time.Now)
	o.Tell, o.Waiting = bar.tell, bar.waiting
	res, err := history.Import(ctx, o)
	bar.clear()
	if err != nil {
		if res.Lines() > 0 {
			fmt.Fprintf(os.Stderr, text.broken+"\n", count(res.Lines()))
		}
		if o.Stdin == nil && res.Lines() > 0 {
			fmt.Fprintln(os.Stderr, text.goOn)
		}
		if errors.Is(err, context.Canceled) {
			return errors.New(text.interrupted)
		}
		if use, ok := errors.AsType[*resume.UseError](err); ok {
			return use
		}
		return errors.New(explain(withCause(err, o.In, "number", "tenure_started_at", "origin"))) // exit code 1, also where the hub says that the file is not of the right form
	}
	text.summary(os.Stdout, os.Stderr, &res, &o)
	if res.Rejected > 0 {
		return errBadLines
	}
	return nil
}

// checkTold refuses what the hub would refuse after hours.
func checkTold(told *hubclient.HistoryTold, until string, now time.Time) error {
	if told.CoveredSince != "" {
		day, err := huanxin.ParseDate(told.CoveredSince)
		if err != nil || huanxin.DateOf(now, huanxin.China).Before(day) || day.Before(huanxin.DateOf(huanxin.EarliestEvent, huanxin.China)) {
			return errors.New("--covered-since must be a date such as 2015-01-31, not after today and not before November 1987")
		}
	}
	if until != "" {
		at, err := time.Parse(time.RFC3339, until)
		if err != nil || at.After(now.Add(huanxin.MaxAhead)) {
			return errors.New("--complete-until must be a time such as 2026-03-01T08:00:00+08:00, and not ahead")
		}
		told.CompleteUntil = at
	}
	return nil
}

// summary says what an import came to: what is done to out, what is wrong to errs.
func (w *words) summary(out, errs io.Writer, res *history.Result, o *history.Options) {
	if res.Done {
		fmt.Fprintln(out, w.doneBefore)
	}
	fmt.Fprintf(out, w.totals+"\n", count(res.Lines()), count(res.Accepted), count(res.Duplicates), count(res.Rejected))
	switch told := o.Told != (hubclient.HistoryTold{}); {
	case res.Stated != nil:
		since, until := w.never, w.never
		if res.Stated.CoveredSince != "" {
			since = res.Stated.CoveredSince
		}
		if t := res.Stated.CompleteUntil; t != nil {
			until = t.Format(time.RFC3339)
		}
		fmt.Fprintf(out, w.covered+"\n", since, until)
	case told:
		fmt.Fprintln(errs, w.notStated)
	case o.Told.CoveredSince == "":
		fmt.Fprintln(errs, w.unasked)
	}
	if res.Rejected == 0 {
		return
	}
	fmt.Fprintf(errs, w.refused+"\n", count(res.Rejected))
	for _, code := range slices.Sorted(maps.Keys(res.Codes)) {
		fmt.Fprintf(errs, "  %-24s %s\n", code, count(res.Codes[code]))
	}
	switch {
	case res.Listed == res.Rejected:
		fmt.Fprintf(errs, w.listed+"\n", o.Rejected)
	case res.Listed > 0:
		fmt.Fprintf(errs, w.partly+"\n", count(res.Listed), o.Rejected)
	default:
		fmt.Fprintln(errs, w.unlisted)
	}
}

// words are what the command says.
type words struct {
	totals, covered, never, notStated, unasked, refused, listed, partly, unlisted, doneBefore string
	broken, goOn, interrupted, waiting, resumed, lines, rate, left                            string
}

// newWords gives those of the reader's language.
func newWords() *words {
	return &words{
		totals: say("共 %s 行:接受 %s 行,已知 %s 行,拒绝 %s 行",
			"%s lines: %s accepted, %s known already, %s refused"),
		covered: say("机主变更自何日起全部可知:%s;已全部报告至:%s",
			"changes of holder are known since: %s; everything is told until: %s"),
		never: say("未声明",
			"not stated"),
		notStated: say("因有被拒绝的行,覆盖范围未声明:请先报告正确的内容,再用只有表头的文件声明",
			"what is covered was not stated, because lines were refused: report what is true, then state it with a file that holds only the header"),
		unasked: say("未声明机主变更自何日起可知:现有持号期的文件本身说明不了,请用 --covered-since 日期 声明",
			"since when changes of holder are known was not stated: a file of present tenures cannot tell; --covered-since DATE does"),
		refused: say("拒绝了 %s 行:",
			"%s lines were refused:"),
		listed: say("明细见 %s",
			"they are listed in %s"),
		partly: say("其中只有 %s 行列在 %s:用 --restart --rejected 文件 列出全部",
			"only %s of them are listed in %s: --restart --rejected FILE lists all"),
		unlisted: say("用 --restart --rejected 文件 列出明细",
			"--restart --rejected FILE lists them"),
		doneBefore: say("该文件此前已全部导入,之后没有变化(--restart 可重新发送)",
			"the file was loaded before, and did not change since (--restart sends it again)"),
		broken: say("已导入 %s 行",
			"%s lines were loaded"),
		goOn: say("再次运行同一命令即可从断点继续",
			"the same command goes on behind them"),
		interrupted: say("已中断",
			"interrupted"),
		waiting: say("%v 后重试:%v",
			"trying again in %v: %v"),
		resumed: say("从第 %s 行之后继续",
			"going on behind %s lines"),
		lines: say("%s 行",
			"%s lines"),
		rate: say("每秒 %s 行",
			"%s lines/s"),
		left: say("剩余 %v",
			"%v left"),
	}
}

// count writes a count with its thousands apart.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
