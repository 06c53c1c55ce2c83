package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/huanxin-platform/huanxin"
)

// told is an error of a configuration or a statement, whose text can be told in Chinese, too.
type told struct {
	error
	format string
	args   []any
}

// tell makes an error whose format stands in chineseOf.
func tell(format string, args ...any) error {
	return &told{fmt.Errorf(format, args...), format, args}
}

func (t *told) Unwrap() error { return errors.Unwrap(t.error) }

// chineseOf gives the Chinese for what a configuration or a statement is refused with, and for what else is put into a report's sentences.
// Names of keys, words of configurations and what a database says itself stay as they are.
var chineseOf = map[string]string{
	"%s: %w": "%s:%w", "sql.%s: %w": "sql.%s:%w", "sql: %w": "sql:%w", "hub.key_file: %w": "hub.key_file:%w", "hub.secret_file: %w": "hub.secret_file:%w",

	"names the directory of the agent's own state":                                    "须写明代理自己的状态目录",
	"%q is no time zone, such as Asia/Shanghai":                                       "%q 不是时区;写法如 Asia/Shanghai",
	"%q is no kind of task: unbind, stop_contact, clear_label, lift_restriction":      "%q 不是任务种类:unbind、stop_contact、clear_label、lift_restriction",
	"%q is no reason of action_required":                                              "%q 不是 action_required 的理由",
	"%s is no https URL without credentials":                                          "%s 的地址须是不带用户名密码的 https 地址",
	"%q is not debug, info, warn or error":                                            "%q 不是 debug、info、warn、error 之一",
	"%s is no loopback address: the page is for this machine alone":                   "%s 不是本机(loopback)地址:页面只给本机看",
	"either sql or http says how accounts are reached":                                "须用 sql 或 http 之一说明怎样到达账号",
	"is an https URL without credentials and query, or http on loopback":              "须是不带用户名密码和查询串的 https 地址,本机可用 http",
	"%q is not suspend, resume, lease, stop_contact, clear_label or lift_restriction": "%q 不是 suspend、resume、lease、stop_contact、clear_label、lift_restriction 之一",
	"requests are signed with hub.key_file, which is missing":                         "请求要用 hub.key_file 签名,没有给出",
	"answers are signed with hub.key_file, which is missing":                          "答复要用 hub.key_file 签名,没有给出",
	"is the hub's https URL":                                                          "须是枢纽的 https 地址",
	"says as whom; the hub's operator gives it":                                       "须写明以谁的身份;由枢纽的运营者给出",
	"either key_file or secret_file":                                                  "须给出 key_file 或 secret_file 之一",
	"push needs an address of the form host:port to listen on":                        "推送方式须有监听地址,写成 主机:端口",
	"push needs the https URL that the hub reaches":                                   "推送方式须有枢纽能到达的 https 地址",
	"push needs a secret that the hub shows":                                          "推送方式须有枢纽出示的口令",
	"%q is not poll, push or list":                                                    "%q 不是 poll、push、list 之一",
	"must be more than 0":                                                             "须大于 0",
	"is at least 24h (DOMAIN.md, the table of §6)":                                    "至少 24h",
	"is at least 72h":                                                    "至少 72h",
	"is not shorter than timings.restore":                                "不得短于 timings.restore",
	"is 2s to 10m":                                                       "须在 2s 到 10m 之间",
	"%q is not postgres, mysql or sqlite":                                "%q 不是 postgres、mysql、sqlite 之一",
	"either dsn or dsn_file":                                             "须给出 dsn 或 dsn_file 之一",
	"is wait or exit":                                                    "只能是 wait 或 exit",
	"connections and max_bindings are not negative":                      "connections 和 max_bindings 不能是负数",
	"suspend_key and resume_key belong together":                         "suspend_key 和 resume_key 要么都有,要么都没有",
	"find, unbind and restore are needed for the kind unbind":            "办理 unbind 须有 find、unbind 和 restore",
	"find and remove are needed for this kind":                           "办理这一种类须有 find 和 remove",
	"it is no postgres:// URL":                                           "不是 postgres:// 地址",
	"it is not of the form user:password@tcp(host:3306)/database":        "须写成 用户:密码@tcp(主机:3306)/库名",
	"the data source cannot be read: %s":                                 "数据源(dsn)不可读:%s",
	"%s: the file is empty":                                              "%s 是空文件",
	"%s: others than its owner may use it (mode %04o): chmod 600 it":     "%s 别人也能用(权限 %04o):请 chmod 600",
	"%s: the key cannot be read: %w":                                     "%s 里的密钥不可读:%w",
	"the agent's state in %s: %w":                                        "代理的状态目录 %s:%w",
	"it was written with another %s than is here; restore them together": "写它时的 %s 与这里的不同;请一起恢复",

	"there is no statement":    "没有语句",
	"line %d: a NUL character": "第 %d 行:有 NUL 字符",
	"line %d: a second statement; write a list of statements instead":         "第 %d 行:这是第二条语句;请写成列表",
	"line %d: %q is no parameter here: parameters are named, such as :number": "第 %d 行:%q 在这里不是参数;参数有名字,如 :number",
	"line %d: there is no parameter :%s here":                                 "第 %d 行:这里没有参数 :%s",
	"line %d: a comment that is no comment to the database":                   "第 %d 行:这条注释对数据库不是注释",
	"line %d: [ without ]":   "第 %d 行:有 [ 而没有 ]",
	"line %d: /* without */": "第 %d 行:有 /* 而没有 */",
	"line %d: a backslash before a quote: write the quote twice":                                  "第 %d 行:引号前有反斜杠;请把引号写两遍",
	"line %d: a quote that is not closed":                                                         "第 %d 行:引号没有结束",
	"line %d: %s is not closed":                                                                   "第 %d 行:%s 没有结束",
	"sql.%s: must be a SELECT":                                                                    "sql.%s 须是 SELECT",
	"sql.%s: does not use :number, so that it would find every account":                           "sql.%s 没有用 :number,会找到所有账号",
	"sql.%s: must be an UPDATE, INSERT or DELETE":                                                 "sql.%s 须是 UPDATE、INSERT 或 DELETE",
	"sql.%s: uses neither :binding nor :account, so that it would touch every account":            "sql.%s 没有用 :binding 或 :account,会碰到所有账号",
	"sql.%s: rows is more than max_bindings, so that it could touch accounts that were not found": "sql.%s 的 rows 大于 max_bindings,会碰到没有找到的账号",
	"there is no use for a column %s":                                                             "列 %s 没有用处",
	"the column %s is there twice":                                                                "列 %s 出现了两次",
	"the column binding is missing":                                                               "缺少列 binding",
	"the column account is missing":                                                               "缺少列 account",
	"the column bound_at (or bound_day) is missing: without it everything would be reviewed":      "缺少列 bound_at(或 bound_day):没有它,一切都要人工复核",

	"is a number: name it with _s, _ms or _us": "是数字:列名请带 _s、_ms 或 _us",
	"must be a whole number":                   "须是整数",
	"is no time":                               "不是时间",
	"it took too long":                         "超时",
	"it was broken off":                        "被中断",
	"the database cannot be reached, or its answer cannot be read": "连不上数据库,或它的回答不可读",

	"the PEM file holds no private key in PKCS#8 form":             "PEM 文件里没有 PKCS#8 私钥",
	"the key file is neither PEM nor a JWK":                        "密钥文件既不是 PEM 也不是 JWK",
	"the key file holds no private key":                            "密钥文件里没有私钥",
	"a key is EC on P-256, Ed25519, or RSA of 2048 to 8192 bits":   "密钥须是 P-256 上的 EC、Ed25519,或 2048 至 8192 位的 RSA",
	"http: the endpoint cannot be reached, or fails":               "连不上接口,或接口出错",
	"http: the answer to find has no bindings; none are []":        "对 find 的回答没有 bindings;没有绑定时写 []",
	"http: a binding in the answer to find cannot be read":         "对 find 的回答里有不可读的绑定",
	"the number has more bindings than max_bindings":               "号码的绑定多于 max_bindings",
	"http: the endpoint answers %s with status %d":                 "接口对 %s 答以状态 %d",
	"http: the answer to %s is not application/json":               "对 %s 的回答不是 application/json",
	"http: the answer to %s is not of the form that is documented": "对 %s 的回答不是文档所写的形式",
	"http: something follows the answer to %s":                     "对 %s 的回答后面还有别的内容",
	"http: the answer to %s is not done, gone, changed or taken":   "对 %s 的回答不是 done、gone、changed 或 taken",
	"http: the answer to lease is not done or taken":               "对 lease 的回答不是 done 或 taken",
}

// fileTrouble are what is wrong with files, in Chinese.
var fileTrouble = []struct {
	is error
	zh string
}{{fs.ErrNotExist, "没有这个文件或目录"}, {fs.ErrPermission, "没有权限"}, {syscall.EISDIR, "是目录"}, {syscall.ENOTDIR, "路径中有不是目录的部分"}, {syscall.ENOSPC, "磁盘已满"}}

// netTrouble are what is wrong with a connection, in Chinese.
var netTrouble = []struct {
	is error
	zh string
}{{syscall.ECONNREFUSED, "对方拒绝连接"}, {context.DeadlineExceeded, "超时"}, {os.ErrDeadlineExceeded, "超时"}, {syscall.ECONNRESET, "连接中断"}, {syscall.EHOSTUNREACH, "到不了对方的主机"}}

// inChinese tells an error in Chinese, as far as its words are ours. What others said stays between 「」.
func inChinese(err error) string {
	if t, ok := err.(*told); ok {
		return fmt.Sprintf(strings.ReplaceAll(chineseOf[t.format], "%w", "%s"), chineseArgs(t.args)...)
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, e := range j.Unwrap() {
			all = append(all, inChinese(e))
		}
		return strings.Join(all, ";")
	}
	if zh := chineseOf[err.Error()]; zh != "" {
		return zh
	}
	if f, ok := errors.AsType[*fs.PathError](err); ok {
		for _, t := range fileTrouble {
			if errors.Is(err, t.is) {
				return f.Path + ":" + t.zh
			}
		}
	}
	if c, ok := errors.AsType[*connectorError](err); ok && c.format != "" {
		return fmt.Sprintf(chineseOf[c.format], chineseArgs(c.args)...)
	}
	if e, ok := errors.AsType[*huanxin.Error](err); ok {
		return "枢纽答 " + e.Code
	}
	for _, t := range netTrouble {
		if errors.Is(err, t.is) {
			return t.zh
		}
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "主机名解析不了"
	}
	if zh := yamlInChinese(err.Error()); zh != "" {
		return zh
	}
	return "「" + err.Error() + "」"
}

func chineseArgs(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case error:
			out[i] = inChinese(a)
		case string:
			out[i] = a
			if zh := chineseOf[a]; zh != "" {
				out[i] = zh
			} else if name, n, ok := strings.Cut(a, "error "); ok && (name == "" || name == "sqlite ") { // of errorCode
				out[i] = name + "错误 " + n
			}
		default:
			out[i] = a
		}
	}
	return out
}

// yamlWords are what the reader of YAML says, in Chinese.
var yamlWords = []struct {
	en *regexp.Regexp
	zh string
}{
	{regexp.MustCompile(`^line (\d+): field (\S+) not found in type \S+$`), "第 $1 行:这里没有 $2 这个键"},
	{regexp.MustCompile(`^line (\d+): mapping key "(.*)" already defined at line (\d+)$`), "第 $1 行:键 $2 在第 $3 行已有"},
	{regexp.MustCompile(`^line (\d+): cannot construct .*$`), "第 $1 行:值的类型不对"},
	{regexp.MustCompile(`^line (\d+): ("\S*") is no duration: .*$`), "第 $1 行:$2 不是时长;写法如 90s、15m、6h"},
	{regexp.MustCompile(`^.*load error .* at L(\d+)\.C(\d+): .*$`), "第 $1 行第 $2 个字符处不是 YAML"},
}

// yamlInChinese tells what is wrong with a configuration's YAML; "" if that is something else.
func yamlInChinese(text string) string {
	if strings.HasSuffix(text, "no documents in stream") {
		return "文件没有内容"
	}
	file, text, ok := strings.Cut(text, ": yaml: construct errors: ")
	if !ok {
		if file, text, ok = strings.Cut(file, ": go-yaml "); !ok {
			return ""
		}
	}
	var all []string
	for _, part := range strings.Split(text, "; line ") {
		if len(all) > 0 {
			part = "line " + part
		}
		zh := "「" + part + "」"
		for _, w := range yamlWords {
			if w.en.MatchString(part) {
				zh = w.en.ReplaceAllString(part, w.zh)
				break
			}
		}
		all = append(all, zh)
	}
	return file + ":" + strings.Join(all, ";")
}
