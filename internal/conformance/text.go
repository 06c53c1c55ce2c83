package conformance

import "fmt"

// Text is said in Chinese and in English.
type Text struct {
	Zh string `json:"zh"`
	En string `json:"en"`
}

// say gives a text whose verbs stand for the same values in both languages.
func say(zh, en string, args ...any) Text {
	if len(args) == 0 {
		return Text{zh, en}
	}
	return Text{fmt.Sprintf(zh, args...), fmt.Sprintf(en, args...)}
}

func (t Text) empty() bool { return t == Text{} }

// and joins two texts as sentences.
func (t Text) and(more Text) Text {
	switch {
	case t.empty():
		return more
	case more.empty():
		return t
	}
	return Text{t.Zh + ";" + more.Zh, t.En + "; " + more.En}
}

// andAll joins a text that is about some things, where there are any.
func (t Text) andAll(more Text, about []string) Text {
	if len(about) == 0 {
		return t
	}
	return t.and(more)
}
