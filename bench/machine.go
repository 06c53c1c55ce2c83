package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hardware says what the figures were taken on.
func hardware() string {
	cpu, memory := "unknown CPU", ""
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	text, _ = os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
			kb, _ := strconv.Atoi(f[1])
			memory = fmt.Sprintf(", %d GB", kb>>20)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%s, %d cores%s; %s %s/%s; load average before: %.14s; %s", cpu, runtime.NumCPU(), memory,
		runtime.Version(), runtime.GOOS, runtime.GOARCH, load, time.Now().UTC().Format("2006-01-02 15:04 UTC"))
}

// cpu is processor time that was used, in seconds.
type cpu struct {
	process  float64 // this process: the hub and its load
	database float64 // the PostgreSQL server with its children, or another server beside us
	machine  float64 // everybody
}

func (a cpu) minus(b cpu) cpu {
	return cpu{a.process - b.process, a.database - b.database, a.machine - b.machine}
}

// cpuSeconds gives what was used so far.
func (w *world) cpuSeconds() cpu {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	out := cpu{process: seconds(u.Utime) + seconds(u.Stime)}
	text, _ := os.ReadFile("/proc/stat")
	all, _, _ := strings.Cut(string(text), "\n")
	if f := strings.Fields(all); len(f) > 8 { // user, nice, system, idle, iowait, irq, softirq, steal
		out.machine = ticks(f[1:4]) + ticks(f[6:9])
	}
	if w.peer > 0 {
		out.database = processTicks(w.peer)
		return out
	}
	if w.cluster == nil {
		return out
	}
	at, err := url.Parse(w.cluster.URL("postgres"))
	if err != nil {
		return out
	}
	text, _ = os.ReadFile(filepath.Join(at.Query().Get("host"), "data", "postmaster.pid"))
	postmaster, _, _ := strings.Cut(string(text), "\n")
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		_, rest, ok := strings.Cut(string(text), ") ")
		f := strings.Fields(rest) // from the third field on: state, ppid, …
		if !ok || len(f) < 15 {
			continue
		}
		switch {
		case name == "/proc/"+postmaster+"/stat":
			out.database += ticks(f[11:15]) // its own, and that of children that have ended
		case f[1] == postmaster:
			out.database += ticks(f[11:13])
		}
	}
	return out
}

// processTicks gives what a process used so far.
func processTicks(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	if f := strings.Fields(rest); len(f) > 12 {
		return ticks(f[11:13])
	}
	return 0
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// ticks adds up times of /proc/PID/stat, which count hundredths of a second on Linux.
func ticks(f []string) (s float64) {
	for _, v := range f {
		n, _ := strconv.Atoi(v)
		s += float64(n) / 100
	}
	return s
}

// phase is one measured stretch of work.
type phase struct {
	name string
	n    int
	took time.Duration
	cpu  cpu
}

func (p phase) rate() float64 { return float64(p.n) / p.took.Seconds() }

// others is which part of the machine other programs took meanwhile, in percent: what a figure suffers from.
func (p phase) others() float64 {
	return max(0, p.cpu.machine-p.cpu.process-p.cpu.database) / p.took.Seconds() / float64(runtime.NumCPU()) * 100
}

// timed measures f, which does n things.
func (w *world) timed(name string, n int, f func() error) (phase, error) {
	before, began := w.cpuSeconds(), time.Now()
	err := f()
	took := time.Since(began)
	return phase{name, n, took, w.cpuSeconds().minus(before)}, err
}

// total is the whole way through phases that did the same n things.
func total(name string, phases []phase) phase {
	out := phase{name: name, n: phases[0].n}
	for _, p := range phases {
		out.took += p.took
		out.cpu.process += p.cpu.process
		out.cpu.database += p.cpu.database
		out.cpu.machine += p.cpu.machine
	}
	return out
}

// resident gives the memory of this process that lies in RAM, in bytes.
func resident() uint64 {
	text, _ := os.ReadFile("/proc/self/statm")
	var size, pages uint64
	_, _ = fmt.Sscan(string(text), &size, &pages)
	return pages * uint64(os.Getpagesize())
}
