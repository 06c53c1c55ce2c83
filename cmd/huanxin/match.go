package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"sync/atomic"
	"time"
	_ "time/tzdata" // for --zone, on machines without one

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
	"github.com/huanxin-platform/huanxin/internal/match"
)

const matchForm = `match --in FILE --out FILE [--unknown FILE] [--bad FILE] (--hub URL | --replica FILE [--hub URL]) [flags]

Reads a CSV file with the columns account, number and bound_at, in any order, and further ones. Rows whose number changed hands since
bound_at (CHANGED), or that nobody holds now (NO_HOLDER), go to --out as they are, with outcome and reason added; rows of which that
cannot be told (UNKNOWN) go to --unknown. Unknown is never no.

bound_at is 2024-01-01, 2024-01-01T10:00:00+08:00, or 2024-01-01 10:00:00 in --zone, each with a fraction of seconds or without. A date
means its last instant in the hub's national time zone, so that what was bound on the day of a change is not taken for older: for signing
somebody in that is too kind: ask for both ends of the day there. Empty, NULL, \N, 0000-00-00… and 0001-01-01… mean that it is not known.

A run that was ended is gone on with by the same command. Exit code 3: done, with bad lines, which are listed.`

// matchFlags are those of match.
type matchFlags struct {
	hub         hubClient
	job         match.Job
	zone        string
	country     string
	replica     string
	unsigned    bool
	giveUp      time.Duration
	show, quiet bool
	issued      time.Time // the replica: what came later is not in its answers
	damaged     error     // what is wrong with some of the replica's pages; nil: nothing
}

func (m *matchFlags) add(f *flag.FlagSet) {
	m.hub.add(f)
	f.StringVar(&m.job.In, "in", "", "CSV `FILE` of accounts; - is standard input")
	f.StringVar(&m.job.Out, "out", "", "`FILE` for rows that changed; - is standard output")
	f.StringVar(&m.job.Unknown, "unknown", "", "`FILE` for rows that cannot be told; without it they are only counted")
	f.StringVar(&m.job.Bad, "bad", "", "`FILE` for all bad lines: line,code,detail, nothing of the rows; without it the first 1,000 are shown")
	f.StringVar(&m.zone, "zone", "Asia/Shanghai", "time `zone` of date-times without an offset")
	f.StringVar(&m.country, "country", "", "86: takes numbers without +86, too: 13800000001, 8613800000001")
	f.StringVar(&m.replica, "replica", "", "answer from this `FILE` (huanxin replica pull); what it cannot decide is asked of --hub, if that is given")
	f.BoolVar(&m.unsigned, "unsigned", false, "take a snapshot without a manifest as --replica: for tests and benchmarks, nobody vouches for it")
	f.BoolVar(&m.job.Restart, "restart", false, "forget what an earlier run has done")
	f.DurationVar(&m.giveUp, "give-up", 15*time.Minute, "how long to try while the hub does not answer")
	f.DurationVar(&m.job.SafeEvery, "safe-every", 3*time.Second, "how much work may be lost when a run is killed")
	f.BoolVar(&m.show, "progress", false, "show progress, on no terminal too")
	f.BoolVar(&m.quiet, "quiet", false, "show neither progress nor summary")
}

func reconcile(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("match", flag.ContinueOnError)
	var m matchFlags
	m.add(f)
	if _, err := parse(f, args, 0, matchForm); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	end, err := m.source(ctx)
	if err != nil {
		return err
	}
	defer end()
	p := startMeter(&m)
	m.job.Stdin, m.job.Stdout = os.Stdin, os.Stdout
	m.job.Resumed = func(offset int64) {
		p.resumed(offset)
		if !m.quiet {
			fmt.Fprintf(os.Stderr, say("从第 %d 字节继续\n", "going on at byte %d\n"), offset)
		}
	}
	s, err := m.job.Run(ctx)
	p.stop()
	if err != nil {
		if huanxin.CodeOf(err) == match.QuotaExceeded {
			return m.usedUp(err, s.Summary.Rows, p.progress.Fresh.Load())
		}
		if ctx.Err() != nil && m.job.In != "-" && m.job.Out != "-" {
			return fmt.Errorf(say("停在第 %d 行之后:再次运行同一命令即可继续", "stopped after %d rows: the same command goes on from there"), s.Summary.Rows)
		}
		return err
	}
	m.listBad(os.Stderr, &s.Summary)
	if !m.quiet {
		w := io.Writer(os.Stdout)
		if m.job.Out == "-" {
			w = os.Stderr
		}
		printSummary(w, &s.Summary, p)
		if !m.issued.IsZero() {
			fmt.Fprintf(w, "%s: %s\n", say("副本签发于", "replica issued"), m.issued.Format(time.RFC3339))
		}
	}
	switch {
	case m.damaged != nil:
		return fmt.Errorf(say("%s 有损坏的页(%w):其上的号码没有由它作答,归入 --unknown(needs_hub)或已问枢纽。请重新拉取(huanxin replica pull)再核对",
			"%s has damaged pages (%w): what lies on them was not answered from it, but went to --unknown (needs_hub) or was asked of the hub. Pull it again (huanxin replica pull), and match again"),
			m.replica, m.damaged)
	case s.Summary.Bad > 0:
		return errBadLines
	}
	return nil
}

// usedUp says when a run can go on that used up the day's checks: rows of the file, of which this run did the fresh ones.
func (m *matchFlags) usedUp(err error, rows, fresh int64) error {
	_, until := huanxin.DateOf(time.Now(), huanxin.China).In(huanxin.China) // the hub's days are its national zone's
	if e, ok := errors.AsType[*huanxin.Error](err); ok && e.RetryAfter > 0 {
		until = time.Now().Add(e.RetryAfter).In(huanxin.China)
	}
	at := until.Format("2006-01-02 15:04 -07:00")
	switch {
	case m.job.In == "-" || m.job.Out == "-":
		return fmt.Errorf(say("quota_exceeded:今天的核验次数已用完,%s 之后才有。管道不能从断点继续:请给出文件,或请枢纽运营方提高额度",
			"quota_exceeded: the day's checks are used up until %s. Pipes cannot be gone on with: give files, or ask the hub's operator for a higher limit"), at)
	case fresh == 0:
		return fmt.Errorf(say("quota_exceeded:今天的核验次数已用完,这次一行也没有做完;%s 之后用同一命令再试。若仍如此,请把文件分小,或请枢纽运营方提高额度",
			"quota_exceeded: the day's checks are used up, and this run got nowhere; the same command tries again after %s. If that does not help, cut the file into smaller ones, or ask the hub's operator for a higher limit"), at)
	}
	return fmt.Errorf(say("quota_exceeded:今天的核验次数已用完,停在第 %d 行之后;%s 之后用同一命令继续",
		"quota_exceeded: the day's checks are used up after %d rows; the same command goes on after %s"), rows, at)
}

// check judges the flags and makes options of them.
func (m *matchFlags) check() error {
	switch {
	case m.job.In == "" || m.job.Out == "":
		return usageError(say("match: 请给出 --in FILE 和 --out FILE;- 是标准输入、标准输出", "match: give --in FILE and --out FILE; - is standard input or output"))
	case m.job.Unknown == "-" || m.job.Bad == "-":
		return usageError(say("match: --unknown 和 --bad 须是文件:标准输出只留给 --out,免得两种行混在一起",
			"match: --unknown and --bad are files: standard output is for --out alone, so that two sorts of rows do not mix"))
	case m.country != "" && m.country != "86":
		return usageError(say("match: --country 只认 86;其他号码请写成 E.164(+44…)", "match: --country knows 86; write other numbers in E.164 form (+44…)"))
	case m.unsigned && m.replica == "":
		return usageError(say("match: --unsigned 须与 --replica 同用", "match: --unsigned goes with --replica"))
	}
	m.job.Options.China = m.country == "86"
	m.job.Options.Zone = huanxin.China
	if m.zone != huanxin.China.String() {
		zone, err := time.LoadLocation(m.zone)
		if err != nil || m.zone == "" || m.zone == "Local" {
			return usageError(say("match: --zone 是时区名,如 Asia/Shanghai、Europe/Berlin、UTC", "match: --zone is a name such as Asia/Shanghai, Europe/Berlin or UTC"))
		}
		m.job.Options.Zone = zone
	}
	m.job.Options.Progress = new(match.Progress)
	return nil
}

// source says who answers. end gives up what that holds.
func (m *matchFlags) source(ctx context.Context) (end func(), err error) {
	o := &m.job.Options
	end = func() {}
	if m.replica == "" {
		hub, err := m.openHub()
		o.Source, o.BatchRows, o.Workers = hub, match.HubBatchRows, match.HubWorkers
		m.job.Settings = "hub " + m.hub.url
		return end, err
	}
	if m.hub.url != "" { // named, not from the environment: who asks a replica may not mean to ask a hub
		hub, err := m.openHub()
		if err != nil {
			return end, err
		}
		// Most of the workers wait for the hub.
		o.Undecided, o.Workers = hub, 32
	}
	m.job.Settings = "replica " + m.replica + " hub " + m.hub.url
	r, closeReplica, err := m.openReplica(ctx)
	if err == nil {
		o.Source, end = r, func() { _ = closeReplica() }
	}
	return end, err
}

func (m *matchFlags) openHub() (*match.Hub, error) {
	c, err := m.hub.open()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(m.hub.url)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usageError(say("match: 枢纽的 URL 以 https:// 或 http:// 开头", "match: the hub's URL begins with https:// or http://"))
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	var said atomic.Int64 // seconds: streams fail together
	return &match.Hub{Client: c, Compress: !local, GiveUp: m.giveUp, Waiting: func(err error, pause time.Duration) {
		if now := time.Now().Unix(); !m.quiet && said.Swap(now) != now {
			fmt.Fprintf(os.Stderr, say("枢纽没有答复(%s),%v 后再试\n", "the hub does not answer (%s), trying again in %v\n"), explain(err), pause.Round(100*time.Millisecond))
		}
	}}, nil
}

// openReplica opens the replica, reads it into memory and proves it, before anything is answered from it.
func (m *matchFlags) openReplica(ctx context.Context) (*match.Replica, func() error, error) {
	if m.unsigned {
		x, _, err := index.Open(m.replica)
		if err != nil {
			return nil, nil, m.refuses(err)
		}
		return &match.Replica{Marks: x, Present: huanxin.PresentAt(time.Now(), huanxin.China)}, x.Close, m.verified(x.Verify(ctx), x.Close)
	}
	r, err := replica.Open(m.replica)
	if err != nil {
		return nil, nil, m.refuses(err)
	}
	m.issued = r.IssuedAt().In(r.Zone())
	return &match.Replica{Marks: r, AsOf: r.AsOf(), Uploaded: r.Scope() == huanxin.ReplicaUploaded,
		Present: huanxin.PresentAt(time.Now(), r.Zone())}, r.Close, m.verified(r.Verify(ctx), r.Close)
}

// verified judges what came of proving a replica. A page that cannot be read whole answers nothing, so that the others may answer, and the
// run fails in the end. Everything else that is wrong with it ends the run before it begins: nobody vouches for any answer.
func (m *matchFlags) verified(err error, closeReplica func() error) error {
	if errors.Is(err, index.ErrDamaged) {
		m.damaged = err
		return nil
	}
	if err != nil {
		_ = closeReplica()
		return m.refuses(err)
	}
	return nil
}

// refuses names the replica in an error, and says what helps against one that is not whole.
func (m *matchFlags) refuses(err error) error {
	switch {
	case errors.Is(err, replica.ErrRefused), errors.Is(err, index.ErrDamaged), errors.Is(err, index.ErrVersion):
		return fmt.Errorf(say("%s: %w。没有用它作答,请重新拉取(huanxin replica pull)", "%s: %w. Nothing was answered from it; pull it again (huanxin replica pull)"), m.replica, err)
	}
	return fmt.Errorf("%s: %w", m.replica, err)
}

// listBad lists the bad lines, by number and code only, or says where they are, and what often helps.
func (m *matchFlags) listBad(w io.Writer, s *match.Summary) {
	if s.Bad == 0 {
		return
	}
	national := slices.ContainsFunc(s.BadLines, func(b match.Bad) bool { return b.Code == "number_malformed" })
	if m.job.Bad != "" {
		fmt.Fprintf(w, say("%d 个坏行列在 %s\n", "%d bad lines are listed in %s\n"), s.Bad, m.job.Bad)
	} else {
		for _, b := range s.BadLines {
			fmt.Fprintf(w, say("第 %d 行: %s\n", "line %d: %s\n"), b.Line, b.Code)
		}
		if more := s.Bad - int64(len(s.BadLines)); more > 0 {
			fmt.Fprintf(w, say("还有 %d 个坏行:--bad FILE 列出全部\n", "and %d more bad lines: --bad FILE lists all of them\n"), more)
		}
	}
	if national && m.country == "" {
		fmt.Fprintln(w, say("号码须写成 E.164(+8613800000001);加 --country 86 也认 13800000001 和 8613800000001",
			"numbers are taken in E.164 form (+8613800000001); with --country 86 also 13800000001 and 8613800000001"))
	}
	if s.OtherDates > 0 {
		fmt.Fprintf(w, say("其中 %d 行的 bound_at 是别的写法的日期(如 2019/8/8):请写成 2019-08-08 或 2019-08-08 10:00:00\n",
			"in %d of them bound_at is a date that is written in another way, such as 2019/8/8: write 2019-08-08, or 2019-08-08 10:00:00\n"), s.OtherDates)
	}
}

func printSummary(w io.Writer, s *match.Summary, p *meter) {
	line := func(zh, en string, n int64) { fmt.Fprintf(w, "%s: %d\n", say(zh, en), n) }
	line("行", "rows", s.Rows)
	line("机主变了", "changed", s.Changed)
	line("无人持有", "no holder", s.NoHolder)
	line("没有变", "unchanged", s.Unchanged)
	line("不知道", "unknown", s.Unknown)
	for _, reason := range sortedKeys(s.Reasons) {
		fmt.Fprintf(w, "  %s: %d\n", reason, s.Reasons[reason])
	}
	line("坏行", "bad lines", s.Bad)
	fmt.Fprintf(w, "%s: %.0f\n", say("每秒行数", "rows a second"), p.rate())
	if s.LastAsOf == 0 {
		return // nothing was asked
	}
	asOf := fmt.Sprint(s.FirstAsOf)
	if s.LastAsOf != s.FirstAsOf {
		asOf = fmt.Sprintf("%d–%d", s.FirstAsOf, s.LastAsOf)
	}
	fmt.Fprintf(w, "%s: %s\n", say("号码日志位置", "as of"), asOf)
}
