package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// person is somebody at a browser of their own.
type person struct {
	ctx  context.Context
	base string
	web  *http.Client
	page string // that they see
}

func newPerson(ctx context.Context, base string) (*person, error) {
	jar, err := cookiejar.New(nil)
	return &person{ctx: ctx, base: base, web: &http.Client{Jar: jar}}, err
}

func (p *person) send(method, path string, form url.Values) error {
	req, err := http.NewRequestWithContext(p.ctx, method, p.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	p.page = string(text)
	return err
}

var codeOnPhone = regexp.MustCompile(`data-number="([^"]+)".*?class="sms-code">(\d{6})<`)

// enterCode reads the newest code on the phone with a number, and enters it.
func (p *person) enterCode(number string) error {
	if err := p.send("GET", "/phone", nil); err != nil {
		return err
	}
	for _, m := range codeOnPhone.FindAllStringSubmatch(p.page, -1) {
		if strings.TrimPrefix(m[1], "&#43;") == strings.TrimPrefix(number, "+") {
			return p.send("POST", "/code", url.Values{"code": {m[2]}})
		}
	}
	return errors.New("there is no message on the phone")
}

// signInBySMS asks for a code and enters it.
func (p *person) signInBySMS(number string) error {
	if err := p.send("POST", "/sms", url.Values{"number": {number}}); err != nil {
		return err
	}
	return p.enterCode(number)
}

func (p *person) sees(what string) bool { return strings.Contains(p.page, what) }

const ring = "金戒指"

// play lets both people act in both shops, says what happened, and fails if it is not as it must be.
func play(ctx context.Context, out io.Writer, open, guarded string, c cast) error {
	say := func(zh, en string) { fmt.Fprintf(out, "  %s\n    %s\n", zh, en) }
	var wrong []string
	must := func(ok bool, what string) {
		if !ok {
			wrong = append(wrong, what)
		}
	}
	li, err := newPerson(ctx, open)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\n王芳的旧号码注销后卖给了李伟;王芳的账号还绑着它。 / Wang Fang's old number was sold to Li Wei. Her account is still bound to it.")
	fmt.Fprintln(out, "\n没有守卫的商店 / The shop without the guard")
	if err := li.signInBySMS(c.Recycled.Number); err != nil {
		return err
	}
	must(li.sees(ring) && li.sees("王芳"), "without the guard the new holder should have been let in: there would be nothing to guard")
	say("李伟用短信验证码登录,看到了王芳的订单、住址和礼品卡。", "Li Wei signs in with an SMS code, and sees Wang Fang's orders, her address and her gift card.")

	fmt.Fprintln(out, "\n有守卫的商店 / The shop with the guard")
	if li, err = newPerson(ctx, guarded); err != nil {
		return err
	}
	if err := li.signInBySMS(c.Recycled.Number); err != nil {
		return err
	}
	must(!li.sees(ring) && li.sees(`id="blocked"`), "with the guard the new holder should have been stopped")
	say("李伟输入验证码:守卫说 block reassigned,商店请他开新账号。", "Li Wei enters the code: the guard says block reassigned, and the shop offers him a new account.")
	wang, err := newPerson(ctx, guarded)
	if err != nil {
		return err
	}
	if err := wang.send("POST", "/password", url.Values{"login": {formerLogin}, "password": {formerPassword}}); err != nil {
		return err
	}
	must(wang.sees(ring), "the former holder should have got in by password")
	say("王芳用密码登录,订单都在。", "Wang Fang signs in by password, and all her orders are there.")
	if li, err = newPerson(ctx, guarded); err != nil {
		return err
	}
	if err := li.signInBySMS(c.Recycled.Number); err != nil {
		return err
	}
	must(!li.sees(ring) && li.sees(`id="stepped-up"`), "her password should not have opened the account to the holder of the number")
	say("她刚用过密码,李伟再试仍进不去:密码谁的验证码也替代不了。", "She has just used her password, and still Li Wei does not get in: a proof of hers is none of his.")
	if err := li.send("POST", "/new", nil); err != nil {
		return err
	}
	must(!li.sees(ring) && li.sees(`id="no-orders"`), "the new holder should have a new account")
	say("李伟开了新账号,里面是空的。", "Li Wei opens a new account. It is empty.")
	if err := wang.send("POST", "/number", url.Values{"number": {c.Fresh}}); err != nil {
		return err
	}
	if err := wang.enterCode(c.Fresh); err != nil {
		return err
	}
	must(wang.sees(strings.TrimPrefix(mask(c.Fresh), "+")), "the former holder should have bound her new number")
	say("王芳改绑了新号码。", "Wang Fang binds her new number.")
	chen, err := newPerson(ctx, guarded)
	if err != nil {
		return err
	}
	if err := chen.signInBySMS(c.Kept.Number); err != nil {
		return err
	}
	must(chen.sees("龙井茶"), "who has kept their number should not be stopped")
	say("陈静的号码没换过人:一个验证码就够,和从前一样。", "Chen Jing has kept her number: a code is enough, as ever.")
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}
