package catalogue

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// People invents what accounts show of their owners. The same seed and stream give the same people in the same order; a
// stream for each account makes it independent of the others. Not safe for concurrent use.
type People struct{ r *rand.Rand }

// NewPeople gives the people of one stream of a seed.
func NewPeople(seed, stream uint64) *People { return &People{rand.New(rand.NewPCG(seed, stream))} }

// Name is a person's display name in Chinese and in pinyin.
type Name struct{ Zh, Latin string }

// Name puts a common surname before two characters. Whoever bears it in life does so by chance.
func (p *People) Name() Name {
	s, a, b := p.syllable(surnames), p.syllable(givenFirst), p.syllable(givenSecond)
	given := a.latin + b.latin
	return Name{s.zh + a.zh + b.zh, capital(s.latin) + " " + capital(given)}
}

// Nickname gives what a person might call themselves.
func (p *People) Nickname() string {
	name := one(p.r, nickHow) + one(p.r, nickWho)
	if p.r.IntN(4) == 0 {
		name += strconv.Itoa(p.r.IntN(100))
	}
	return name
}

// Amount gives what lies in an account of an app of this class, in fen (¥0.01): for lending, what is owed. It is 0 for
// many accounts, and for all of a class without money.
func (p *People) Amount(class string) int64 {
	purse := purses[class]
	if p.r.IntN(PerMille) >= purse.filled {
		return 0
	}
	low := int64(1)
	for range purse.digits[p.r.IntN(len(purse.digits))] - 1 {
		low *= 10
	}
	return low + p.r.Int64N(9*low)
}

// purse says how many of 1,000 accounts hold money, and how many digits the amount in fen has, each as likely.
type purse struct {
	filled int
	digits []int
}

var purses = map[string]purse{
	"payment":  {900, []int{3, 4, 5, 5, 5, 6, 6, 7, 7, 8}},
	"lending":  {600, []int{5, 6, 6, 6, 7, 7}},
	"shopping": {400, []int{2, 3, 3, 4, 4, 5}},
	"food":     {300, []int{2, 3, 3, 4}},
	"travel":   {300, []int{3, 3, 4, 4, 5}},
	"games":    {500, []int{3, 4, 4, 5}},
}

type syllable struct{ zh, latin string }

func (p *People) syllable(from []syllable) syllable { return one(p.r, from) }

func one[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// syllables splits "王wang 李li" into characters and pinyin.
func syllables(s string) []syllable {
	var out []syllable
	for _, w := range strings.Fields(s) {
		i := strings.IndexFunc(w, func(r rune) bool { return r < 0x80 })
		out = append(out, syllable{w[:i], w[i:]})
	}
	return out
}

var (
	surnames = syllables(`王wang 李li 张zhang 刘liu 陈chen 杨yang 黄huang 赵zhao 吴wu 周zhou 徐xu 孙sun 马ma 朱zhu 胡hu 郭guo
		何he 高gao 林lin 罗luo 郑zheng 梁liang 谢xie 宋song 唐tang 许xu 韩han 冯feng 邓deng 曹cao 彭peng 曾zeng 肖xiao 田tian
		董dong 潘pan 袁yuan 蔡cai 蒋jiang 余yu 于yu 杜du 叶ye 程cheng 苏su 魏wei 吕lyu 丁ding 任ren 沈shen 姚yao 卢lu 姜jiang
		崔cui 钟zhong 谭tan 陆lu 汪wang 范fan 金jin 石shi 廖liao 贾jia 夏xia 韦wei 付fu 方fang 白bai 邹zou 孟meng 熊xiong 秦qin
		邱qiu 江jiang 尹yin 薛xue 闫yan 段duan 雷lei 侯hou 龙long 史shi 陶tao 黎li 贺he 顾gu 毛mao 郝hao 龚gong 邵shao 欧阳ouyang`)

	givenFirst = syllables(`砚yan 禾he 汀ting 榆yu 苇wei 霁ji 筠yun 岫xiu 桐tong 荻di 穗sui 麓lu 淮huai 棠tang 槿jin 牧mu 简jian
		屿yu 朗lang 溪xi 檀tan 栎li 澍shu 璞pu 鹭lu 枫feng 棹zhao 萤ying 蓼liao 箬ruo`)

	givenSecond = syllables(`舟zhou 川chuan 宁ning 初chu 然ran 遥yao 野ye 笙sheng 柠ning 澄cheng 闻wen 知zhi 越yue 青qing
		迟chi 樵qiao 帆fan 声sheng 笛di 茗ming 朔shuo 里li 竹zhu 笺jian`)

	nickHow = strings.Fields(`不吃香菜的 迟到的 爱晒太阳的 打瞌睡的 数星星的 怕冷的 背着书包的 会唱歌的 慢半拍的 攒零花钱的 戴眼镜的
		爱吃橘子的 找不到路的 等下雨的 早睡失败的 种豆子的 画画的 骑单车的 收集落叶的 学做饭的 喝汤的 穿雨靴的 想放假的 追公交的 爱发呆的`)

	nickWho = strings.Fields(`刺猬 云雀 小鲸鱼 水獭 麻雀 土豆 番薯 橘猫 白鹭 蜗牛 松鼠 石榴 豆包 年糕 汤圆 山雀 河狸 企鹅 小熊 蘑菇
		菠萝 柿子 荷包蛋 南瓜 海螺 田鼠 灰兔 芋头 纸船 风筝`)
)
