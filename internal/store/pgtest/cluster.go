package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Durability says what a cluster promises of a commit.
type Durability bool

const (
	// Fast leaves commits to the operating system: a power cut may lose and damage them, a killed process does not.
	Fast Durability = false
	// Durable keeps PostgreSQL's defaults: a commit is on stable storage when it is acknowledged.
	Durable Durability = true
)

const (
	superuser = "postgres"
	role      = "hub" // owns the databases; as in production it may log in and nothing more
	port      = "5432"
	// patience bounds each wait for a server, crash recovery included.
	patience = 2 * time.Minute
)

// Cluster is a PostgreSQL server with a data directory of its own, reached over a Unix socket that only its user and
// root can open. Its methods that start and end the server are for one goroutine at a time.
type Cluster struct {
	dir      string // holds the socket and data/, and belongs to owner
	bin      string
	owner    *syscall.Credential // nil: ourselves
	settings []string
	keeper   *keeper
	server   *server // nil: not running
	killed   bool    // since the last start
	log      tail
}

// server is one run of the postgres program.
type server struct {
	process *os.Process
	gone    chan struct{} // closed when the postmaster and all its children have ended
	err     error         // how the postmaster ended; read after gone
}

// Open makes a cluster and starts it. Settings are lines of postgresql.conf ("shared_buffers=1GB") and win over ours.
// The error is ErrNotInstalled where there are no binaries.
func Open(d Durability, settings ...string) (*Cluster, error) {
	c := &Cluster{settings: serverSettings(d, settings)}
	var err error
	if c.bin, err = binaries(os.Getenv("PATH"), packaged); err != nil {
		return nil, err
	}
	if c.owner, err = serverOwner(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp(place(d), fmt.Sprintf("hxpg-%d-", os.Getpid())); err != nil {
		return nil, err
	}
	if c.owner != nil {
		if err := os.Chown(c.dir, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(c.dir))
		}
	}
	if err := c.fill(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// place gives the directory in which a cluster's directory is made. It is short, because a socket's path may have 107
// bytes, and not TMPDIR, which another user may be unable to enter. Databases are hundreds of small files: in memory
// they are cloned in 20 ms, on a slow file system in 250 ms. /tmp may be memory, so it is nothing for a durable cluster.
func place(d Durability) string {
	var shm syscall.Statfs_t
	switch {
	case d == Durable:
		return "/var/tmp"
	case syscall.Statfs("/dev/shm", &shm) == nil && shm.Bavail*uint64(shm.Bsize) > 2<<30:
		return "/dev/shm"
	default:
		return "/tmp"
	}
}

func serverSettings(d Durability, more []string) []string {
	s := []string{
		"listen_addresses=", "unix_socket_permissions=0700", "max_connections=200", "shared_buffers=128MB",
		// In the data directory, so that they go with it: POSIX segments of a killed server stay in /dev/shm.
		"dynamic_shared_memory_type=mmap",
		"timezone=UTC", "log_timezone=UTC", "log_line_prefix=%m [%p] %d ",
	}
	if d == Fast {
		// synchronous_commit stays on: without it a killed server loses what it acknowledged.
		s = append(s, "fsync=off", "full_page_writes=off", "max_wal_size=128MB")
	}
	return append(s, more...)
}

// fill makes the data directory and starts the server on it. The keeper comes first: it covers all that follows.
func (c *Cluster) fill() (err error) {
	if c.keeper, err = startKeeper(c.dir, c.command("/bin/sh")); err != nil {
		return err
	}
	initdb := c.command(filepath.Join(c.bin, "initdb"), "--pgdata="+c.data(), "--username="+superuser,
		"--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := c.Start(); err != nil {
		return err
	}
	return c.Admin(context.Background(), "CREATE ROLE "+role+" LOGIN")
}

// command is a program run as the cluster's owner, in its directory, and out of reach of a terminal's Ctrl-C.
func (c *Cluster) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: c.owner}
	return cmd
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// URL names a database of the cluster, for the role that owns its databases.
func (c *Cluster) URL(database string) string { return c.url(database, role) }

func (c *Cluster) url(database, user string) string {
	q := url.Values{"host": {c.dir}, "port": {port}, "user": {user}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + q.Encode()
}

// CreateDatabase makes an empty database and gives its URL. The name is a plain lower-case SQL name.
func (c *Cluster) CreateDatabase(name string) (url string, err error) {
	return c.URL(name), c.Admin(context.Background(), "CREATE DATABASE "+name+" OWNER "+role)
}

// Admin runs one statement as superuser.
func (c *Cluster) Admin(ctx context.Context, q string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url("postgres", superuser))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, q); err != nil {
		return fmt.Errorf("%s: %w", q, err)
	}
	return nil
}

// Start starts the server after Stop or Kill and returns when it takes connections, after recovery.
func (c *Cluster) Start() error {
	if c.server != nil {
		return errors.New("the server runs already")
	}
	args := []string{"-D", c.data(), "-k", c.dir, "-p", port}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	cmd := c.command(filepath.Join(c.bin, "postgres"), args...)
	// Not a file, so that there is a pipe and Wait returns when its last holder has ended: the postmaster and every
	// process that it began. Until then a killed server's children may still write, and a new one cannot start.
	cmd.Stderr = &c.log
	if err := cmd.Start(); err != nil {
		return err
	}
	s := &server{process: cmd.Process, gone: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.gone)
	}()
	c.server, c.killed = s, false
	return c.awaitReady()
}

func (c *Cluster) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Admin(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.server.gone:
			err = fmt.Errorf("PostgreSQL did not start: %w\n%s", c.server.err, c.log.String())
			c.server = nil
			return err
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("PostgreSQL is not ready: %w\n%s", err, c.log.String()), c.Kill())
		}
	}
}

// Stop ends the server in good order ("fast": transactions under way are rolled back, the rest is checkpointed).
func (c *Cluster) Stop() error { return c.end(syscall.SIGINT) }

// Kill ends every process of the server at once with SIGKILL, as a crash of it would. Start recovers.
func (c *Cluster) Kill() error {
	if c.server == nil {
		return errors.New("the server does not run")
	}
	postmaster := c.server.process
	// Stopped, it begins no more children and reaps none, so that the list stays true.
	if err := postmaster.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for _, pid := range children(postmaster.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	err := c.end(syscall.SIGKILL)
	c.killed = true
	return err
}

// children lists a process's children. Where the kernel does not tell, there are none: a server's children end by
// themselves soon after it.
func children(pid int) []int {
	p := strconv.Itoa(pid)
	text, _ := os.ReadFile("/proc/" + p + "/task/" + p + "/children")
	var pids []int
	for _, w := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(w); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// end sends the postmaster a signal and returns when all the server's processes have gone.
func (c *Cluster) end(sig syscall.Signal) error {
	s := c.server
	if s == nil {
		return errors.New("the server does not run")
	}
	c.server = nil
	if err := s.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.gone:
	case <-time.After(patience):
		_ = s.process.Kill()
		return fmt.Errorf("PostgreSQL did not end upon %v\n%s", sig, c.log.String())
	}
	if sig != syscall.SIGKILL && s.err != nil {
		return fmt.Errorf("PostgreSQL ended badly: %w\n%s", s.err, c.log.String())
	}
	return nil
}

// Close ends the server, if it runs, and removes all that the cluster had.
func (c *Cluster) Close() error {
	var errs []error
	if c.killed {
		// Only PostgreSQL knows its System V segment, which outlives a killed server and of which a machine has
		// 4096: one more start takes it over. A cluster too damaged to start leaves it.
		_ = c.Start()
	}
	if c.server != nil {
		errs = append(errs, c.end(syscall.SIGQUIT)) // "immediate": no checkpoint of what is thrown away
	}
	errs = append(errs, os.RemoveAll(c.dir))
	if c.keeper != nil {
		errs = append(errs, c.keeper.dismiss())
	}
	return errors.Join(errs...)
}
