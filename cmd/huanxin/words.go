package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
	"github.com/huanxin-platform/huanxin/internal/lines"
	"github.com/huanxin-platform/huanxin/internal/match"
	"github.com/huanxin-platform/huanxin/internal/resume"
)

// What the commands say to people is written twice beside each other, in Chinese and in English. Codes and column names are for
// programs and the same in both.

// chinese reports whether people are spoken to in Chinese: POSIX's variables say so, in its order.
func chinese() bool {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			return strings.HasPrefix(v, "zh")
		}
	}
	return false
}

// say gives the text in the reader's language.
func say(zh, en string) string { return sayIn(chinese(), zh, en) }

func sayIn(chinese bool, zh, en string) string {
	if chinese {
		return zh
	}
	return en
}

// explain says what an error is, once, in the reader's language as far as we know its words, and what helps.
func explain(err error) string {
	text := err.Error()
	put := func(old, better string) { text = strings.Replace(text, old, better, 1) }
	if e, ok := errors.AsType[*huanxin.Error](err); ok {
		put(e.Error(), refusalText(e))
	}
	if e, ok := errors.AsType[*match.HeaderError](err); ok {
		put(e.Error(), headerText(e))
	}
	if e, ok := errors.AsType[*resume.UseError](err); ok && chinese() {
		put(e.Error(), e.Path+" "+useWords[e.Problem])
	}
	if errors.Is(err, match.ErrNoHeader) && chinese() {
		put(match.ErrNoHeader.Error(), "输入没有表头:第一行须是列名,其中有 account、number 和 bound_at")
	}
	if errors.Is(err, replica.ErrRefused) && chinese() {
		put(replica.ErrRefused.Error(), "副本不可信,没有采用")
	}
	if _, ok := errors.AsType[*net.OpError](err); ok && chinese() {
		text = "连不上枢纽:" + text
	}
	if chinese() && errors.Is(err, os.ErrNotExist) {
		put("no such file or directory", "没有这个文件或目录")
	}
	return text
}

// useWords are the Chinese for resume's problems.
var useWords = map[resume.Problem]string{
	resume.TwoRoles:   "不能同时用作两种文件(输入、输出、进度文件等)",
	resume.NoProgress: "不是这个版本的进度文件;--restart 从头来",
	resume.OtherRun:   "属于参数不同的另一次运行;用同样的参数继续,或用 --restart 从头来",
	resume.NotOurs:    "里面是别的内容,不会覆盖它:请移走,或另外指定文件",
	resume.NotAFile:   "是设备、管道或目录:请指定文件",
}

// codeWords are the Chinese for codes whose English the error brings with it.
var codeWords = map[string]string{
	"number_malformed":   "号码须写成 E.164,如 +8613800000001",
	"malformed_time":     "时间须写成 2024-01-31,或带时区的 2024-01-31T10:00:00+08:00",
	"unknown_column":     "没有这一列的用处,请删去",
	"missing_column":     "缺少这一列",
	"duplicate_column":   "这一列出现了两次",
	"bad_header":         "第一行须是列名",
	"invalid_client":     "枢纽不认这个客户端或它的凭据",
	"no_contract":        "登记处没有准许这个应用使用副本的合同",
	"insufficient_scope": "这个客户端没有所需的权限",
	"rate_limited":       "问得太快,超出合同所许",
	"quota_exceeded":     "当天的核验次数已用完",
	"overloaded":         "枢纽现在太忙",
}

// hints say what helps against a refusal.
var hints = map[string][2]string{
	"invalid_client": {"请检查 HUANXIN_CLIENT_ID,以及 HUANXIN_CLIENT_SECRET 或 HUANXIN_CLIENT_KEY",
		"check HUANXIN_CLIENT_ID, and HUANXIN_CLIENT_SECRET or HUANXIN_CLIENT_KEY"},
	"no_contract": {"合同由枢纽的运营方登记(huanxin party replica)", "the hub's operator enters contracts (huanxin party replica)"},
}

// refusalText writes a refusal. What its detail says of a field it does not say again.
func refusalText(e *huanxin.Error) string {
	detail := e.Detail
	var parts []string
	for _, f := range e.Fields {
		detail = strings.TrimSuffix(strings.TrimSuffix(detail, f.Field+": "+f.Detail), ": ")
		one := huanxin.Error{Fields: []huanxin.FieldError{{Field: f.Field, Line: f.Line, Code: f.Code, Detail: inChineseOr(f.Code, f.Detail)}}}
		parts = append(parts, strings.TrimPrefix(one.Error(), "; "))
	}
	if e.Code != "invalid" || len(parts) == 0 || detail != "" {
		whole := huanxin.Error{Code: e.Code, Reason: e.Reason, Detail: inChineseOr(e.Code, detail)}
		parts = slices.Insert(parts, 0, whole.Error())
	}
	if h, ok := hints[e.Code]; ok {
		parts = append(parts, say(h[0], h[1]))
	}
	return strings.Join(parts, "; ")
}

func inChineseOr(code, english string) string {
	if zh := codeWords[code]; zh != "" && chinese() {
		return zh
	}
	return english
}

func headerText(e *match.HeaderError) string {
	text := e.Error()
	if chinese() {
		problem := map[match.HeaderProblem]string{
			match.ColumnMissing: "没有列 *",
			match.ColumnTwice:   "列 * 出现了两次",
			match.ColumnTaken:   "列 * 与要添加的列同名,请改名",
			match.OneTaken:      "要添加的列 outcome 和 reason 已有其一,请改名",
		}[e.Problem]
		text = "输入的表头:" + strings.Replace(problem, "*", e.Column, 1) + "(现有的列:" + strings.Join(e.Found, "、") + ")"
	}
	return text + causeText(e.Cause)
}

// causeText says what a wrong header probably comes from.
func causeText(c lines.Cause) string {
	zh, en := "", ""
	switch c {
	case lines.UTF16:
		zh, en = "文件似乎是 UTF-16:请另存为 UTF-8 的 CSV", "it looks like UTF-16: save it as CSV in UTF-8"
	case lines.Semicolons:
		zh, en = "列似乎以分号分隔:请改用逗号", "its columns seem to be separated by semicolons: use commas"
	case lines.Tabs:
		zh, en = "列似乎以制表符分隔:请改用逗号", "its columns seem to be separated by tabs: use commas"
	case lines.OtherCase:
		zh, en = "列名须小写,且前后没有空格", "column names are written in small letters, without blanks around them"
	case lines.NoHeader:
		zh, en = "第一行似乎已是数据:请在前面加一行列名", "its first line seems to be a row: put a line with the columns' names before it"
	default:
		return ""
	}
	return say("。", ". ") + say(zh, en)
}

// withCause adds to an error about a header what the first line of the file that it is about probably suffers from.
func withCause(err error, path string, wanted ...string) error {
	if huanxin.CodeOf(err) != "bad_header" || path == "-" {
		return err
	}
	f, openErr := os.Open(path)
	if openErr != nil {
		return err
	}
	defer f.Close()
	line, _ := bufio.NewReader(io.LimitReader(f, 64<<10)).ReadString('\n')
	found := lines.Shown(strings.Split(strings.TrimRight(strings.TrimPrefix(line, "\ufeff"), "\r\n"), ","))
	return &headerCause{err, say("(现有的列:", " (its columns are: ") + strings.Join(found, say("、", ", ")) + say(")", ")") + causeText(lines.CauseOf([]byte(line), wanted...))}
}

// headerCause is an error with more about the header.
type headerCause struct {
	err  error
	more string
}

func (e *headerCause) Error() string { return e.err.Error() + e.more }
func (e *headerCause) Unwrap() error { return e.err }
