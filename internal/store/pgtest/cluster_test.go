package pgtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

func TestACommitOutlivesAKilledAndAStoppedServer(t *testing.T) {
	for name, d := range map[string]pgtest.Durability{"fsync on": pgtest.Durable, "fsync off": pgtest.Fast} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := pgtest.New(t, d, "shared_buffers=32MB")
			url, err := c.CreateDatabase("facts")
			must(t, err)
			conn := connect(t, url)
			if got := ask(t, conn, "SELECT 'fsync ' || current_setting('fsync')"); got != name {
				t.Error(got)
			}
			if got := ask(t, conn, "SELECT current_setting('shared_buffers')"); got != "32MB" {
				t.Errorf("shared_buffers is %s", got)
			}
			do(t, conn, "CREATE TABLE facts (n bigint)")
			do(t, conn, "INSERT INTO facts SELECT generate_series(1, 1000)")
			do(t, conn, "BEGIN; DELETE FROM facts") // and no COMMIT
			for what, end := range map[string]func() error{"killed": c.Kill, "stopped": c.Stop} {
				must(t, end())
				if _, err := pgx.Connect(t.Context(), url); err == nil {
					t.Errorf("a %s server takes connections", what)
				}
				if end() == nil {
					t.Errorf("a server can be %s twice", what)
				}
				must(t, c.Start())
				if got := ask(t, connect(t, url), "SELECT count(*)::text FROM facts"); got != "1000" {
					t.Errorf("the %s server has %s of 1000 facts", what, got)
				}
			}
			if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
				t.Error("a connection outlived the server")
			}
		})
	}
}

func TestABusyServerCanBeKilledAgainAndAgain(t *testing.T) {
	c := pgtest.New(t, pgtest.Fast)
	url, err := c.CreateDatabase("load")
	must(t, err)
	do(t, connect(t, url), "CREATE TABLE load (n bigint)")
	const clients = 4
	for range 2 {
		begun, ended := make(chan error, clients), make(chan error, clients)
		for range clients {
			conn := connect(t, url)
			go func() {
				_, err := conn.Exec(t.Context(), "INSERT INTO load SELECT generate_series(1, 100)")
				begun <- err
				for err == nil {
					_, err = conn.Exec(t.Context(), "INSERT INTO load SELECT generate_series(1, 100)")
				}
				ended <- err
			}()
		}
		for range clients {
			must(t, <-begun)
		}
		must(t, c.Kill())
		for range clients {
			<-ended
		}
		must(t, c.Start())
	}
	must(t, c.Kill()) // the cluster can be closed now, too
}

func TestTheServerDoesNotRunAsRoot(t *testing.T) {
	info, err := os.Stat(filepath.Join(directory(t, notes.Database(t)), "data", "postmaster.pid"))
	must(t, err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 {
		t.Error("it runs as root")
	}
}

func TestARefusedSettingIsReportedAndLeavesNothing(t *testing.T) {
	notes.Database(t) // skips where there is no PostgreSQL
	ours := func() (n int) {
		for _, place := range []string{"/dev/shm", "/tmp", "/var/tmp"} {
			dirs, err := filepath.Glob(fmt.Sprintf("%s/hxpg-%d-*", place, os.Getpid()))
			must(t, err)
			n += len(dirs)
		}
		return n
	}
	before := ours()
	c, err := pgtest.Open(pgtest.Fast, "shared_buffers=nonsense")
	if err == nil {
		t.Fatal("it was taken", c.Close())
	}
	if !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers"`) {
		t.Error(err)
	}
	if n := ours() - before; n != 0 {
		t.Errorf("%d directories were left", n)
	}
}

// endEnv makes this program one that starts a cluster, prints its URL and ends without a word to pgtest.
const endEnv = "PGTEST_END"

func beTheProcessThatEnds(how string) {
	c, err := pgtest.Open(pgtest.Durable)
	if err != nil {
		panic(err)
	}
	fmt.Println(c.URL("postgres"))
	switch how {
	case "exits":
		os.Exit(0)
	case "panics":
		panic("as asked")
	}
	select {}
}

func TestNothingIsLeftOfAClusterWhoseProcess(t *testing.T) {
	notes.Database(t) // skips where there is no PostgreSQL
	for _, how := range []string{"exits", "panics", "is killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			must(t, err)
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), endEnv+"="+how)
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			must(t, err)
			dir := directory(t, strings.TrimSpace(line))
			text, pidErr := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
			if how == "is killed" {
				must(t, pidErr) // in the other cases it may have gone already
				must(t, cmd.Process.Kill())
			}
			_ = cmd.Wait()
			pid, _, _ := strings.Cut(string(text), "\n")
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				_, err := os.Stat(dir)
				if errors.Is(err, fs.ErrNotExist) && !runs(pid) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("a minute later %s is there (%v) or the postmaster %s runs (%v)", dir, err, pid, runs(pid))
				}
			}
		})
	}
}

// directory gives the cluster's directory from the URL of a database.
func directory(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	must(t, err)
	return u.Query().Get("host")
}

// runs reports whether there is a process with this number that has not ended.
func runs(pid string) bool {
	n, err := strconv.Atoi(pid)
	if err != nil || syscall.Kill(n, 0) != nil {
		return false
	}
	stat, _ := os.ReadFile("/proc/" + pid + "/stat")
	return !strings.Contains(string(stat), ") Z ")
}
