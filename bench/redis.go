package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/measure"
)

// errNoRedis says that there is no Redis to compare with.
var errNoRedis = errors.New("not installed: apt-get install redis-server")

// redis is a server of its own, on a Unix socket, that writes nothing to disk.
type redis struct {
	socket   string
	pid      int
	keeper   *exec.Cmd
	lifeline io.Closer
}

// redisScript starts the server, says its process id, and ends it with us: the kernel closes our end of the pipe however we end.
const redisScript = `cd "$1" || exit
redis-server --port 0 --unixsocket "$1/redis" --save "" --appendonly no --dir "$1" >log 2>&1 &
echo $!
cat >/dev/null
kill -KILL $!
wait`

func startRedis(ctx context.Context, dir string) (r *redis, err error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errNoRedis
	}
	r = &redis{socket: filepath.Join(dir, "redis"), keeper: exec.Command("/bin/sh", "-c", redisScript, "bench-redis", dir)}
	r.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's Ctrl-C ends us, and then this
	if r.lifeline, err = r.keeper.StdinPipe(); err != nil {
		return nil, err
	}
	said, err := r.keeper.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.keeper.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if _, err := fmt.Fscan(said, &r.pid); err != nil {
		return nil, err
	}
	for end := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("unix", r.socket)
		if err == nil {
			return r, c.Close()
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, fmt.Errorf("redis-server did not start: %w\n%.2000s", err, log)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *redis) close() error {
	err := r.lifeline.Close()
	return errors.Join(err, r.keeper.Wait())
}

// fill sets the first n numbers to their marks.
func (r *redis) fill(n int, marks *lifeTable) error {
	const chunk = 1000
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	var b []byte
	for from := 0; from < n; from += chunk {
		b = b[:0]
		to := min(from+chunk, n)
		for i := from; i < to; i++ {
			value := strconv.Itoa(int(marks.mark(int64(i))))
			b = fmt.Appendf(b, "*3\r\n$3\r\nSET\r\n$13\r\n%d\r\n$%d\r\n%s\r\n", measure.First+i, len(value), value)
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		for range to - from {
			if line, err := in.ReadSlice('\n'); err != nil || string(line) != "+OK\r\n" {
				return errors.Join(fmt.Errorf("SET: %q", line), err)
			}
		}
	}
	return nil
}

// asks are GETs of random numbers, ready to be sent, and the sum of their answers.
type asks struct {
	text []byte
	sum  uint64
	n    int
}

const askSize = len("*2\r\n$3\r\nGET\r\n$13\r\n8613000000000\r\n")

func newAsks(n, numbers int, marks *lifeTable) *asks {
	a := &asks{n: n}
	for range n {
		i := rand.IntN(numbers)
		a.sum += uint64(marks.mark(int64(i)))
		a.text = append(a.text, "*2\r\n$3\r\nGET\r\n$13\r\n"...)
		a.text = strconv.AppendInt(a.text, int64(measure.First+i), 10)
		a.text = append(a.text, '\r', '\n')
	}
	return a
}

// get asks all of it on one connection, so many at once, and holds the answers against what they must be.
func (r *redis) get(a *asks, depth int) error {
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReaderSize(c, 256<<10)
	sum := uint64(0)
	for text := a.text; len(text) > 0; {
		n := min(depth, len(text)/askSize)
		if _, err := c.Write(text[:n*askSize]); err != nil {
			return err
		}
		text = text[n*askSize:]
		for range n {
			value, err := readBulk(in)
			if err != nil {
				return err
			}
			sum += value
		}
	}
	if sum != a.sum {
		return errors.New("it answers what is not so")
	}
	return nil
}

// readBulk reads an answer "$n\r\ndigits\r\n".
func readBulk(in *bufio.Reader) (v uint64, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil || len(line) != 4 || line[0] != '$' {
		return 0, errors.Join(fmt.Errorf("GET: %q", line), err)
	}
	n := int(line[1] - '0')
	digits, err := in.Peek(n + 2)
	if err != nil {
		return 0, err
	}
	for _, d := range digits[:n] {
		v = v*10 + uint64(d-'0')
	}
	_, err = in.Discard(n + 2)
	return v, err
}

// besideRedis measures checks beside GETs of Redis, in turns.
func (w *world) besideRedis(ctx context.Context, o options, out io.Writer, x *index.Index) (err error) {
	r, err := startRedis(ctx, w.dir)
	if errors.Is(err, errNoRedis) {
		fmt.Fprintf(out, "  checks beside Redis: %v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	numbers, gets, asked := int(min(o.numbers, peerNumbers)), 2_000_000, 10_000_000
	if o.short {
		gets, asked = 20_000, 100_000
	}
	marks := lives()
	if err := r.fill(numbers, marks); err != nil {
		return err
	}
	served := &world{peer: r.pid}
	all, same := newAsked(asked, o.numbers), newAsked(asked, int64(numbers))
	ask := asker(x)
	ours := []*series{{name: fmt.Sprintf("checks in process, of %d", o.numbers)}, {name: fmt.Sprintf("the same, of Redis' %d", numbers)}}
	theirs := redisWays(gets, numbers, marks)
	for range min(o.repeat, peerRounds) {
		for i, digits := range [][]uint64{all, same} {
			p, _ := w.timed("", asked, func() error { ask(digits); return nil })
			ours[i].add(p)
		}
		for _, t := range theirs {
			p, err := served.timed("", gets, func() error {
				return parallelly(len(t.asks), len(t.asks), func(i int) error { return r.get(t.asks[i], t.depth) })
			})
			if err != nil {
				return err
			}
			t.add(p)
		}
	}
	fmt.Fprintf(out, "  checks beside Redis %s, %d keys, by a Unix socket; one core each, Redis' client on the other; CPU of Redis is the server's alone\n", redisVersion(), numbers)
	best, cheapest := 0.0, 0.0
	for _, s := range ours {
		fmt.Fprintln(out, s)
	}
	for _, t := range theirs {
		fmt.Fprintln(out, &t.series)
		best, cheapest = max(best, t.best()), max(cheapest, 1/t.cpuEach())
	}
	fmt.Fprintf(out, "    checks to Redis' best (20): by the clock %.1f; by CPU %.1f\n", ours[0].best()/best, 1/ours[0].cpuEach()/cheapest)
	return redisBenchmark(ctx, out, r, gets, numbers)
}

func newAsked(n int, numbers int64) []uint64 {
	digits := make([]uint64, n)
	for i := range digits {
		digits[i] = measure.First + uint64(rand.Int64N(numbers))
	}
	return digits
}

// redisWay is one way of asking Redis.
type redisWay struct {
	series
	depth int
	asks  []*asks // a connection's each
}

func redisWays(gets, numbers int, marks *lifeTable) (ways []*redisWay) {
	for _, connections := range []int{1, 2, 4} {
		var parts []*asks
		for range connections {
			parts = append(parts, newAsks(gets/connections, numbers, marks))
		}
		for _, depth := range []int{128, 1024} {
			ways = append(ways, &redisWay{series{name: fmt.Sprintf("Redis GET, %d connections, %d at once", connections, depth)}, depth, parts})
		}
	}
	return ways
}

func redisVersion() string {
	text, _ := exec.Command("redis-server", "--version").Output()
	for _, f := range strings.Fields(string(text)) {
		if v, ok := strings.CutPrefix(f, "v="); ok {
			return v
		}
	}
	return "of unknown version"
}

// redisBenchmark asks with Redis' own tool, for keys that are not there: it cannot name ours.
func redisBenchmark(ctx context.Context, out io.Writer, r *redis, gets, numbers int) error {
	text, err := exec.CommandContext(ctx, "redis-benchmark", "-s", r.socket, "-t", "get", "-P", "128", "-c", "4", "-n", strconv.Itoa(gets),
		"-r", strconv.Itoa(numbers), "--csv").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("redis-benchmark: %w", err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		return fmt.Errorf("redis-benchmark: %w", err)
	}
	for _, row := range rows {
		if rate, err := strconv.ParseFloat(row[1], 64); err == nil && row[0] == "GET" {
			fmt.Fprintf(out, "    redis-benchmark -P 128 -c 4, keys that are not there: %.2f M/s\n", rate/1e6)
		}
	}
	return nil
}
