package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"
)

// idlePolls has another process hold polls of as many streams, and prints the memory of this one, where the hub is.
func (w *world) idlePolls(ctx context.Context, o options, out io.Writer) (err error) {
	apps := 2000
	if o.short {
		apps = 4
	}
	all, err := w.receivers(ctx, "idle", apps, 5)
	if err != nil {
		return err
	}
	var calls []call
	for _, r := range all {
		token, err := r.client.Token(ctx)
		if err != nil {
			return err
		}
		calls = append(calls, call{Path: r.path, Token: token})
	}
	w.http.CloseIdleConnections()
	debug.FreeOSMemory() // what was measured before is over
	before := resident()
	stop, err := waitElsewhere(ctx, strings.TrimPrefix(w.url, "http://"), calls)
	if err != nil {
		return err
	}
	used := w.cpuSeconds()
	time.Sleep(3 * time.Second)
	used = w.cpuSeconds().minus(used)
	during := resident()
	stop()
	fmt.Fprintf(out, "  %d polls of as many streams that wait: memory of the process %.0f MB (500), %.0f before; CPU of 3 s while they wait %.2f s\n",
		len(calls), float64(during)/1e6, float64(before)/1e6, used.process)
	return nil
}

// call is one poll that another process makes.
type call struct{ Path, Token string }

// waiterEnv makes this program be the other process.
const waiterEnv = "HUANXIN_BENCH_WAIT"

// waitElsewhere starts a process that polls, and returns when all its polls were sent and have had a second to be waited on.
func waitElsewhere(ctx context.Context, addr string, calls []call) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, err := json.Marshal(calls)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), waiterEnv+"="+addr)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(in)), os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "waiting\n" {
		stop()
		return nil, errors.Join(errors.New("the polls could not be sent"), err)
	}
	time.Sleep(time.Second)
	return stop, nil
}

// wait is the other process: it polls over as many connections and reports when all are sent, then waits for its end. An answer
// within that time is a fault: there is nothing to tell.
func wait(addr string, in io.Reader, out io.Writer) error {
	var calls []call
	if err := json.NewDecoder(in).Decode(&calls); err != nil {
		return err
	}
	conns := make([]net.Conn, len(calls))
	if err := parallelly(len(calls), parallel, func(i int) (err error) {
		if conns[i], err = net.Dial("tcp", addr); err != nil {
			return err
		}
		_, err = fmt.Fprintf(conns[i], "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
			calls[i].Path, addr, calls[i].Token)
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintln(out, "waiting")
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("a poll that waits was answered with status %d", resp.StatusCode)
		}
	}
	return nil
}
