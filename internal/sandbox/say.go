package sandbox

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// sayer tells a person at a terminal what happens: lines, and on a terminal one line beneath them that is written anew.
type sayer struct {
	mu       sync.Mutex
	to       io.Writer
	terminal bool
	status   string
	said     time.Time // when a status was last written where there is no terminal
}

func newSayer(to io.Writer) *sayer {
	s := &sayer{to: to}
	if f, ok := to.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			s.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return s
}

const eraseLine = "\r\033[K"

// line says something for good.
func (s *sayer) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...) + "\n"
	if s.terminal && s.status != "" {
		text = eraseLine + text + s.status
	}
	_, _ = io.WriteString(s.to, text)
}

// statusEvery is how often a status is written where it cannot be written anew.
const statusEvery = 15 * time.Second

// now says how things stand, in place of what was said before; empty: nothing.
func (s *sayer) now(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case status == s.status:
	case s.terminal:
		s.status = status
		_, _ = io.WriteString(s.to, eraseLine+status)
	case status != "" && time.Since(s.said) >= statusEvery:
		s.status, s.said = status, time.Now()
		_, _ = io.WriteString(s.to, status+"\n")
	}
}

// welcome says where to look.
func (s *sayer) welcome(d *demo) {
	url := d.file.BaseURL
	s.line("")
	s.line("  焕新演示世界已就绪。 The demo world is ready.")
	s.line("  看这里 look here    %s/", url)
	s.line("  接口 the API        %s/docs/api", url)
	s.line("  登录数据 sign-in    %s/%s", d.o.Data, fileName)
	s.line("  一天 a day lasts    %s    (Ctrl-C 结束 ends it; 再启动会接着来 it goes on when started again)", d.hub.Hub.Durations().Day())
	s.line("")
}
