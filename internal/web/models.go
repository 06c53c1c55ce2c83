package web

// The models of the pages. They hold what is shown and nothing else.

// HomePage is 首页.
type HomePage struct{ F Frame }

// SignInPage lists the carriers to sign in at.
type SignInPage struct {
	F        Frame
	Carriers []Choice
	Back     string
}

// Choice is something to choose: Name is text, or the key of one.
type Choice struct {
	ID, Name string
	Picked   bool
}

// NumberPage is 我的号码.
type NumberPage struct {
	F               Frame
	Number, Carrier string
	Used, UsedDo    string // keys
	Since           string
	Open            int
}

// AppsPage is 选择应用.
type AppsPage struct {
	F         Frame
	Problem   string // a key
	Query     string
	MayAll    bool
	All       bool
	Total     int
	Hidden    []AppItem // picked, and not among what is searched for
	Groups    []AppGroup
	NotFound  bool
	NotJoined []WantedApp
	Kinds     []Choice
}

// AppGroup is apps of one class. Title and Why are keys.
type AppGroup struct {
	Title, Why string
	Open       bool // its apps are shown at once
	Apps       []AppItem
}

// AppItem is an app to tick.
type AppItem struct {
	ID, Name     string
	Picked, Busy bool
}

// WantedApp is an app that takes no part yet.
type WantedApp struct {
	ID, Name string
	Wanted   int
	Mine     bool
}

// ConfirmPage is 确认. Kinds and Problem are keys.
type ConfirmPage struct {
	F       Frame
	Problem string
	ID      string
	Number  string
	All     bool
	Tasks   int
	Apps    []string
	Kinds   []string
	Agreed  bool
}

// RequestPage is 进度 and 结果. State is a key, and so is Done, about what was just done.
type RequestPage struct {
	F            Frame
	Done         string
	ID           string
	State        string
	Open         bool
	Total, Final int
	At, Due      string
	Groups       []TaskGroup
}

// TaskGroup is the tasks that are seen alike. Title and Next are keys.
type TaskGroup struct {
	Class, Title, Text, Next string
	Tasks                    []TaskItem
}

// TaskItem is one app's part. Kind is a key, empty for the usual one.
type TaskItem struct {
	ID, App, Kind, Link         string
	Again, Complain, Complained bool
}

// RequestsPage is 历史.
type RequestsPage struct {
	F        Frame
	Requests []RequestItem
}

// RequestItem is one request of the history. State is a key.
type RequestItem struct {
	ID, At, State string
	Total         int
}

// CertificatePage asks what a certificate is to tell, or with Text shows one.
type CertificatePage struct {
	F                  Frame
	Text, Says         string
	Issued, Until      string
	Size               int
	Path               string // of the QR code's dark modules, for SVG
	VerifyURL, KeysURL string
}

// VerifyPage is /verify. Problem and Verdict are keys.
type VerifyPage struct {
	F                    Frame
	Problem              string
	Verdict, Class, Says string
	Issued, Until        string
}

// CancellingPage is 我要注销. Steps and titles are keys.
type CancellingPage struct {
	F      Frame
	Steps  []string
	Groups []NameGroup
}

// NameGroup is the names of the apps of one class.
type NameGroup struct {
	Title string
	Names []string
}

// FormerPage is 我是前机主. Problem is a text, what to choose keys.
type FormerPage struct {
	F                    Frame
	Done                 bool
	Problem, Number, App string
	Names                []string
	What                 []Choice
}

// ProblemPage says why something is not possible and what to do. Key and Do are keys.
type ProblemPage struct {
	F       Frame
	Key, Do string
	Link    *MenuItem
	ID      string
}
