package main

import (
	"context"
	"time"
)

// cast are the numbers of the story, each with when an account was bound to it.
type cast struct {
	Recycled, Kept, Unknown bound
	Fresh                   string // a number that nobody has an account with
}

type bound struct {
	Number string
	At     time.Time
}

// The customers' passwords are here for all to read: they are invented, like the customers.
const (
	formerLogin, formerPassword = "wangfang", "xiaoman-2019"
	keptLogin, keptPassword     = "chenjing", "qiufen-2020"
	unsureLogin, unsurePassword = "zhaolei", "dongzhi-2021"
)

// seed opens the accounts of the story, unless they are there.
func (s *store) seed(ctx context.Context, c cast) error {
	if _, err := s.account(ctx, "login", formerLogin); err == nil {
		return nil
	}
	home := func(zh, en string) func(days int, itemZh, itemEn string, cents int64) Order {
		return func(days int, itemZh, itemEn string, cents int64) Order {
			return Order{At: time.Now().AddDate(0, 0, -days), ItemZh: itemZh, ItemEn: itemEn, Cents: cents, AddressZh: zh, AddressEn: en}
		}
	}
	former := home("样例市柳荫路 8 号 3 单元 502,王芳收", "Wang Fang, 8 Liuyin Road 3-502, Sample City")
	kept := home("样例市学院街 21 号,陈静收", "Chen Jing, 21 Xueyuan Street, Sample City")
	unsure := home("样例市江滨道 5 号,赵磊收", "Zhao Lei, 5 Jiangbin Avenue, Sample City")
	for _, p := range []struct {
		name, login, password string
		bound                 bound
		orders                []Order
	}{
		{"王芳", formerLogin, formerPassword, c.Recycled, []Order{
			former(2200, "电子礼品卡,卡号 6006 1178 2043", "Gift card no. 6006 1178 2043", 50000),
			former(2150, "血糖仪与试纸", "Blood glucose meter and strips", 26800),
			former(2090, "儿童安全座椅", "Child car seat", 89900),
			former(2041, "金戒指,内刻“W & L”", "Gold ring, engraved W & L", 468000),
		}},
		{"陈静", keptLogin, keptPassword, c.Kept, []Order{kept(40, "龙井茶 250 克", "Longjing tea, 250 g", 12800)}},
		{"赵磊", unsureLogin, unsurePassword, c.Unknown, []Order{unsure(60, "羽毛球拍", "Badminton racket", 39900)}},
	} {
		hash, err := hashPassword(p.password)
		if err != nil {
			return err
		}
		a := &Account{Name: p.name, Login: p.login, password: hash, Number: p.bound.Number, BoundAt: p.bound.At}
		if err := s.addAccount(ctx, s.db, a); err != nil {
			return err
		}
		for _, o := range p.orders {
			if err := s.addOrder(ctx, a.ID, o); err != nil {
				return err
			}
		}
	}
	return nil
}
