package pgtest

import (
	"io"
	"os/exec"
)

// keeperScript waits for the end of its input, then ends the server in the directory $1, if one runs, and removes the
// directory. The server is found by its postmaster.pid; if it can be seen that the process with that number is
// another one (a server's working directory is its data directory), nothing is signalled. Should a server just be
// starting, it finds its directory gone and ends: at once, or within the minute in which it looks again for its
// postmaster.pid.
const keeperScript = `
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && { [ ! -e /proc/self/cwd ] || [ "/proc/$pid/cwd" -ef "$1/data" ]; }; then
	kill -QUIT "$pid"
fi
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do
	rm -rf "$1" 2>/dev/null
	[ -e "$1" ] || break
	sleep 0.2
done`

// keeper is a small shell process that outlives ours by a moment and clears up, however ours ends: by Main, os.Exit, a
// panic, the go command's timeout or SIGKILL. It holds the reading end of a pipe whose only writing end is ours, so the
// kernel itself tells it. It has a session of its own (Ctrl-C does not reach it), the rights of the server's user and
// nothing of our output (the go command waits for those who hold that).
//
// Linux's Pdeathsig was weighed and refused: it follows the thread that forked, not the process, would end the server
// but leave its directory, and is not found elsewhere.
type keeper struct {
	lifeline io.Closer
	gone     chan struct{}
	err      error // read after gone
}

// startKeeper runs the script with sh, a command for the shell as the server's user.
func startKeeper(dir string, sh *exec.Cmd) (*keeper, error) {
	sh.Args = append(sh.Args, "-c", keeperScript, "pgtest-keeper", dir)
	sh.Dir = "/" // its directory must not be the one that it removes
	lifeline, err := sh.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := sh.Start(); err != nil {
		return nil, err
	}
	k := &keeper{lifeline: lifeline, gone: make(chan struct{})}
	// Waiting also keeps sh, and with it the lifeline, from the garbage collector.
	go func() {
		k.err = sh.Wait()
		close(k.gone)
	}()
	return k, nil
}

// dismiss ends the keeper. It clears up what there still is.
func (k *keeper) dismiss() error {
	if err := k.lifeline.Close(); err != nil {
		return err
	}
	<-k.gone
	return k.err
}
