package botdetection

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/rules"
)

func TestList(t *testing.T) {
	a := newAutomaton(rules.LoadBots())
	bots := []string{
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
		"Googlebot-Image/1.0",
		"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 Chrome/99.0 Mobile Safari/537.36 (compatible; AdsBot-Google-Mobile; +http://www.google.com/mobile/adsbot.html)",
		"Mediapartners-Google",
		"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
		"Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
		"Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
		"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
		"Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)",
		"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
		"meta-externalagent/1.1",
		"LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
		"Twitterbot/1.0", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "TelegramBot (like TwitterBot)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
		"ClaudeBot/1.0", "CCBot/2.0 (https://commoncrawl.org/faq/)", "Mozilla/5.0 (compatible; AhrefsBot/7.0)",
		"ia_archiver (+http://www.alexa.com/site/help/webmasters)", "Mozilla/5.0 (compatible; Nutch-1.18)",
		"sqlmap/1.7#stable (https://sqlmap.org)", "Mozilla/5.00 (Nikto/2.1.6)", "Mozilla/5.0 zgrab/0.x", "masscan/1.3",
		"Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0 Safari/537.36",
		"Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
		"W3C_Validator/1.3", "Scrapy/2.11 (+https://scrapy.org)", "HTTrack 3.0", "bot", "my_BOT_2",
	}
	people := []string{
		"", "-", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Linux; Android 13; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0 Mobile Safari/537.36",
		"curl/8.5.0", "Wget/1.21.4", "python-requests/2.31.0", "Go-http-client/1.1", "okhttp/4.12.0", "PostmanRuntime/7.36.0",
		"Apache-HttpClient/4.5.14 (Java/17.0.9)", "node-fetch/1.0", "ELB-HealthChecker/2.0", "kube-probe/1.29", "GoogleHC/1.0",
		"BotanicGarden/1.0", "Talbott/2", "Spiderman/3", "crawling", "xslurp", "Pingdomain", "Mozilla/5.0 (compatible; Slurpee)",
	}
	for _, agent := range bots {
		if !a.match(agent) {
			t.Errorf("%q passes", agent)
		}
	}
	for _, agent := range people {
		if a.match(agent) {
			t.Errorf("%q is taken for a bot", agent)
		}
	}
}

// FuzzAutomaton holds the automaton against searching for each text of the list
// by itself.
func FuzzAutomaton(f *testing.F) {
	for _, s := range []string{"Googlebot/2.1", "CUBOT bot2", "xslurp slurp", "yahoo! slurpslurp", "feedfetcher-google", "\xff\x00bot\xff"} {
		f.Add(s)
	}
	list := rules.LoadBots()
	a := newAutomaton(list)
	f.Fuzz(func(t *testing.T, s string) {
		low := lower(s)
		search := func(texts []string, ending bool) bool {
			for _, text := range texts {
				for from := 0; ; {
					at := strings.Index(low[from:], text)
					if at < 0 {
						break
					}
					if from += at; a.holds(s, from+len(text), hit{len(text), ending}) {
						return true
					}
					from++
				}
			}
			return false
		}
		want := search(list.Names, false) || search(list.Endings, true)
		if got := a.match(s); got != want {
			t.Errorf("%q: %t, searching says %t", s, got, want)
		}
	})
}

// lower is s with its ASCII letters in lower case.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func TestVerdicts(t *testing.T) {
	v := newVerdicts()
	asked := 0
	judge := func(agent string) bool { asked++; return strings.HasPrefix(agent, "bad") }
	for range 3 {
		if v.refuse("good", judge) {
			t.Error("a good one is refused")
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times for one agent", asked)
	}
	if !v.refuse("bad", judge) {
		t.Error("a bad one passes")
	}
	asked = 0
	long := "bad" + strings.Repeat("x", maxAgentBytes)
	first, second := v.refuse(long, judge), v.refuse(long, judge)
	if !first || !second || asked != 2 {
		t.Errorf("an agent that is too long to keep was asked for %d times, want 2", asked)
	}
	for i := range 3 * maxVerdicts {
		agent := strings.Repeat("b", i%7) + "ad" + strings.Repeat("y", i%101)
		if v.refuse(agent, judge) != strings.HasPrefix(agent, "bad") {
			t.Fatalf("the verdict on %q is wrong", agent)
		}
	}
}

const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"

func BenchmarkAutomaton(b *testing.B) {
	a := newAutomaton(rules.LoadBots())
	b.ReportAllocs()
	for b.Loop() {
		if a.match(chrome) {
			b.Fatal("a browser is taken for a bot")
		}
	}
}

func BenchmarkVerdicts(b *testing.B) {
	a, v := newAutomaton(rules.LoadBots()), newVerdicts()
	b.ReportAllocs()
	for b.Loop() {
		if v.refuse(chrome, a.match) {
			b.Fatal("a browser is taken for a bot")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	list := rules.LoadBots()
	b.ReportAllocs()
	for b.Loop() {
		newAutomaton(list)
	}
}
