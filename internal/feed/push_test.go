package feed_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
)

func TestPushesReachTheirReceiverOnceAndOfEachNumberInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		rc := s.receiver(func(w http.ResponseWriter, _ *http.Request, _ int, _ got) bool {
			time.Sleep(time.Millisecond) // so that others can come meanwhile
			w.WriteHeader(http.StatusAccepted)
			return true
		})
		stream := s.pushTo("chat", rc.URL+"/events?tenant=1")
		s.recycle(1, 10) // before it runs
		s.run()
		s.recycle(11, 290)
		s.release(1, 300)
		s.eventually("all came", func() bool { return rc.count() >= 600 && s.unsettled(stream) == 0 })
		taken, seen := rc.all()
		if len(seen) != 600 {
			t.Errorf("%d pushes of 600 SETs", len(seen))
		}
		said := map[string]string{}
		ids := map[string]bool{}
		for _, g := range taken {
			said[g.number] += g.typ + " "
			ids[g.jti] = true
			if g.header.Get("Content-Type") != "application/secevent+jwt" || g.header.Get("Accept") != "application/json" || g.header.Get("Authorization") != "Bearer of chat" {
				t.Fatalf("the header is %v", g.header)
			}
		}
		for n, words := range said {
			if words != "identifier-recycled number-released " {
				t.Errorf("of %s came %s", n, words)
			}
		}
		if len(said) != 300 || len(ids) != 600 || rc.most > 1 {
			t.Errorf("%d numbers, %d ids, %d of one number at once", len(said), len(ids), rc.most)
		}
		if rc.wide < 2 {
			t.Error("they came one by one")
		}
	})
}

// hijack answers with raw bytes and closes the connection.
func hijack(w http.ResponseWriter, text string) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	if text == "" {
		_ = c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn).SetLinger(0) // a reset
	} else {
		_, _ = c.Write([]byte(text))
	}
	_ = c.Close()
}

func TestWhatAReceiverDoesNotTakeAtOnceComesAgain(t *testing.T) {
	t.Parallel()
	for what, misbehave := range map[string]func(w http.ResponseWriter, r *http.Request){
		"hangs":            func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"resets":           func(w http.ResponseWriter, _ *http.Request) { hijack(w, "") },
		"answers garbage":  func(w http.ResponseWriter, _ *http.Request) { hijack(w, "\x00\x01 SMTP ready\r\n\r\n") },
		"stops in between": func(w http.ResponseWriter, _ *http.Request) { hijack(w, "HTTP/1.1 20") },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"moved": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusMovedPermanently)
		},
		"does not say why":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) },
		"answers 400 HTML":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", 400) },
		"has no such page":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"has a fault":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"has too much to do": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "1"); w.WriteHeader(429) },
		"is not there now": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", time.Now().Add(time.Second).UTC().Format(http.TimeFormat))
			w.WriteHeader(503)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, "")
			if what == "hangs" {
				s.client = s.patient(time.Second)
				s.feed = s.newFeed(feed.Times{})
			}
			rc := s.receiver(func(w http.ResponseWriter, r *http.Request, n int, g got) bool {
				if r.URL.Path != "/" {
					t.Errorf("%s is asked for", r.URL.Path)
				}
				if n <= 2 {
					misbehave(w, r)
					return false
				}
				w.WriteHeader(http.StatusAccepted)
				return true
			})
			stream := s.pushTo("chat", rc.URL)
			s.run()
			s.recycle(1, 3)
			s.eventually("all came", func() bool { return rc.count() == 3 && s.unsettled(stream) == 0 })
			_, seen := rc.all()
			tokens := map[string]map[string]bool{}
			for _, g := range seen {
				if tokens[g.jti] == nil {
					tokens[g.jti] = map[string]bool{}
				}
				tokens[g.jti][g.token] = true
			}
			for jti, all := range tokens {
				if len(all) != 1 {
					t.Errorf("%s came in %d forms", jti, len(all))
				}
			}
			if len(tokens) != 3 || len(seen) != 5 {
				t.Errorf("%d SETs in %d pushes", len(tokens), len(seen))
			}
			if got := s.dead(stream); got != nil {
				t.Errorf("dead letters: %v", got)
			}
		})
	}
}

func TestAnySuccessIsOneWhateverElseIsAnswered(t *testing.T) {
	t.Parallel()
	s := newStage(t, "")
	rc := s.receiver(func(w http.ResponseWriter, _ *http.Request, n int, _ got) bool {
		switch n % 4 {
		case 0:
			w.WriteHeader(http.StatusOK)
		case 1:
			w.WriteHeader(http.StatusNoContent)
		case 2:
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"err":"invalid_request"}`))
		default:
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write(make([]byte, 1<<20)) // more than is read
		}
		return true
	})
	stream := s.pushTo("chat", rc.URL)
	s.run()
	s.recycle(1, 20)
	s.eventually("all came", func() bool { return s.unsettled(stream) == 0 })
	if _, seen := rc.all(); len(seen) != 20 {
		t.Errorf("%d pushes of 20 SETs", len(seen))
	}
}

func TestARefusedSETIsADeadLetterAndTheOthersGoOn(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		rc := s.receiver(func(w http.ResponseWriter, _ *http.Request, _ int, g got) bool {
			if strings.HasSuffix(g.number, "2") || strings.HasSuffix(g.number, "3") {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintf(w, `{"err":"invalid_%s","description":"%s is not ours"}`, map[string]string{"2": "request", "3": "key"}[g.number[len(g.number)-1:]], g.number)
				return false
			}
			w.WriteHeader(http.StatusAccepted)
			return true
		})
		stream := s.pushTo("chat", rc.URL)
		s.run()
		s.recycle(1, 9)
		s.eventually("all is settled", func() bool { return s.unsettled(stream) == 0 })
		if codes := s.dead(stream); !slices.Equal(codes, []string{"invalid_request", "invalid_key"}) {
			t.Errorf("dead letters: %v", codes)
		}
		tries := map[string]int{}
		_, seen := rc.all()
		for _, g := range seen {
			tries[g.number[len(g.number)-1:]]++
		}
		if rc.count() != 7 || tries["2"] != 1 || tries["3"] != 2 || tries["4"] != 1 { // an unknown key may just have been read
			t.Errorf("%d taken; tries: %v", rc.count(), tries)
		}
		all, err := s.DeadLetters(context.Background(), core.Operator(), stream, 0)
		must(t, err)
		if strings.Contains(fmt.Sprint(all), "8613800") {
			t.Errorf("a number is kept in the clear: %v", all)
		}
		// The operator sends them again, by another process: it is noticed when the pusher looks.
		rc.lock.Lock()
		rc.answer = nil
		rc.lock.Unlock()
		again, err := s.ReplayDead(context.Background(), core.Operator(), stream)
		must(t, err)
		s.eventually("they came", func() bool { return rc.count() == 9 && s.unsettled(stream) == 0 })
		if again.Again != 2 || s.dead(stream) != nil {
			t.Errorf("%+v; left: %v", again, s.dead(stream))
		}
	})
}

func TestAReceiverThatKnowsNobodyPausesItsStreamAndLosesNothing(t *testing.T) {
	for _, status := range []int{401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, "")
			open := make(chan struct{})
			rc := s.receiver(func(w http.ResponseWriter, _ *http.Request, _ int, g got) bool {
				select {
				case <-open:
					w.WriteHeader(http.StatusAccepted)
					return true
				default:
					w.WriteHeader(status)
					return false
				}
			})
			stream := s.pushTo("chat", rc.URL)
			s.run()
			s.recycle(1, 40)
			s.eventually("it is paused", func() bool { return s.status("chat", stream) == fmt.Sprintf("paused the receiver answered %d", status) })
			s.recycle(41, 10)
			close(open)
			_, err := s.SetStreamStatus(context.Background(), s.as("chat"), stream, huanxin.StreamEnabled, "")
			must(t, err)
			s.eventually("all came", func() bool { return rc.count() == 51 && s.unsettled(stream) == 0 })
			taken, _ := rc.all()
			kinds := map[string]int{}
			for _, g := range taken {
				kinds[g.typ]++
			}
			if kinds["stream-updated"] != 1 || kinds["identifier-recycled"] != 50 {
				t.Errorf("%v", kinds)
			}
		})
	}
}

func TestAReceiverThatRefusesEverythingPausesItsStream(t *testing.T) {
	t.Parallel()
	s := newStage(t, "")
	rc := s.receiver(func(w http.ResponseWriter, _ *http.Request, _ int, g got) bool {
		if g.typ == "stream-updated" {
			w.WriteHeader(http.StatusAccepted)
			return true
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"err":"invalid_audience"}`))
		return false
	})
	stream := s.pushTo("chat", rc.URL)
	s.run()
	s.recycle(1, 500)
	s.eventually("it is paused and told so", func() bool {
		return s.status("chat", stream) == "paused the receiver refused 20 events in a row, the last as invalid_audience" && rc.count() == 1
	})
	if n := len(s.dead(stream)); n < 20 || n > 100 {
		t.Errorf("%d dead letters", n)
	}
}

func TestAPausedStreamIsNotPushedAndGoesOnWhereItWas(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		rc := s.receiver(nil)
		stream := s.pushTo("chat", rc.URL)
		s.run()
		s.recycle(1, 5)
		s.eventually("five came", func() bool { return rc.count() == 5 && s.unsettled(stream) == 0 })
		must(t, s.PauseStream(context.Background(), core.Operator(), stream, "a test"))
		s.eventually("it is told", func() bool { return rc.count() == 6 })
		s.recycle(6, 5)
		s.release(1, 5)
		time.Sleep(300 * time.Millisecond)
		if n := rc.count(); n != 6 {
			t.Errorf("%d came while it was paused", n-6)
		}
		must(t, s.EnableStream(context.Background(), core.Operator(), stream, ""))
		s.eventually("all came", func() bool { return rc.count() == 17 && s.unsettled(stream) == 0 })
	})
}

func TestOneReceiversSlownessHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := newStage(t, "")
	let := make(chan struct{})
	hangs := s.receiver(func(w http.ResponseWriter, r *http.Request, _ int, _ got) bool {
		select {
		case <-let:
			w.WriteHeader(http.StatusAccepted)
			return true
		case <-r.Context().Done():
			return false
		}
	})
	quick := s.receiver(nil)
	var slow []string
	for i := range 3 {
		slow = append(slow, s.pushTo(fmt.Sprint("slow-", i), hangs.URL))
	}
	s.pushTo("closed", "https://127.0.0.1:1/")
	stream := s.pushTo("quick", quick.URL)
	s.run()
	s.recycle(1, 300)
	s.release(1, 300)
	s.eventually("the quick one has all", func() bool { return quick.count() == 600 && s.unsettled(stream) == 0 })
	if hangs.count() != 0 {
		t.Error("a slow one was not slow")
	}
	for _, id := range slow {
		if s.unsettled(id) == 0 {
			t.Error("a slow one has all")
		}
	}
	close(let)
}

func TestAReceiverWithAnotherCertificateGetsNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, "")
	rc := s.receiver(nil)
	wrong := strings.Replace(rc.URL, "127.0.0.1", "localhost", 1) // for which the certificate is none
	stream := s.pushTo("chat", wrong)
	s.run()
	s.recycle(1, 1)
	s.eventually("it was tried", func() bool {
		all, err := s.FeedFigures(context.Background())
		must(t, err)
		return all[0].Out == 1
	})
	time.Sleep(1500 * time.Millisecond)
	if n := rc.count(); n != 0 || s.unsettled(stream) != 1 {
		t.Errorf("%d came, %d are unsettled", n, s.unsettled(stream))
	}
}

func TestAFeedThatStopsGivesBackWhatItDidNotSend(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		let := make(chan struct{})
		rc := s.receiver(func(w http.ResponseWriter, r *http.Request, _ int, _ got) bool {
			<-let
			w.WriteHeader(http.StatusAccepted)
			return true
		})
		stream := s.pushTo("chat", rc.URL)
		s.run()
		s.recycle(1, 100)
		s.eventually("pushes are under way", func() bool { rc.lock.Lock(); defer rc.lock.Unlock(); return rc.n == 2 })
		go func() {
			time.Sleep(100 * time.Millisecond)
			close(let)
		}()
		s.stop() // waits for the two
		next := s.again()
		next.run()
		s.eventually("the next has the rest", func() bool { return rc.count() >= 100 && s.unsettled(stream) == 0 })
		if _, seen := rc.all(); len(seen) != 100 {
			t.Errorf("%d pushes of 100 SETs", len(seen))
		}
	})
}

func TestWhatAKilledHubHadInHandIsPushedAtOnceByTheNext(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		rc := s.receiver(nil)
		stream := s.pushTo("chat", rc.URL)
		s.recycle(1, 20)
		killed, err := s.ExchangePushes(t.Context(), s.ids(stream), core.Exchange{Max: 15, Again: 30 * time.Second})
		must(t, err)
		began := time.Now()
		s.run()
		s.eventually("all came", func() bool { return rc.count() == 20 && s.unsettled(stream) == 0 })
		if took := time.Since(began); took > 15*time.Second || len(killed.SETs) != 15 {
			t.Errorf("after %v; %d were in hand", took, len(killed.SETs))
		}
	})
}

func TestOfTwoHubsOnePushesAndTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	s := newStage(t, postgres.Database(t))
	rc := s.receiver(nil)
	stream := s.pushTo("chat", rc.URL)
	other := s.again()
	s.run()
	other.run()
	s.recycle(1, 50)
	other.recycle(51, 50)
	s.eventually("all came", func() bool { return rc.count() >= 100 && s.unsettled(stream) == 0 })
	s.stop()
	other.recycle(101, 50)
	s.eventually("all came by the other", func() bool { return rc.count() >= 150 && other.unsettled(stream) == 0 })
	if _, seen := rc.all(); len(seen) != 150 {
		t.Errorf("%d pushes of 150 SETs", len(seen))
	}
}
