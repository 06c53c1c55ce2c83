// Package huanxin holds the nouns and the rules of refreshing recycled phone numbers (二次号码焕新): numbers and their
// events, tenures, checks, requests, tasks, answers, and the calendar by which they run. It is pure: no I/O, no clock, no
// context. Every rule that no code path may break is a function here with a test that quotes it.
package huanxin
