package waf_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/rules"
	"github.com/bulwark-edge/bulwark/waf"
)

const form = "application/x-www-form-urlencoded"

// TestPacks shows for each pack what is wrongly denied without it and passes
// with it, and that the same content elsewhere, and other attacks, stay denied.
func TestPacks(t *testing.T) {
	e := coreRules(t)
	covered := map[string]bool{}
	for _, tt := range []struct {
		pack     string
		ordinary []message // denied without the pack
		attacks  []message // denied with it, too
	}{
		{
			"wordpress",
			[]message{
				post("/wp-login.php", form, "log=anna&pwd=%27+or+1%3D1+--+%3Cscript%3E&wp-submit=Log+In"),
				post("/wp-json/wp/v2/posts/12", "application/json", `{"title":"Shells","content":"<p>Run <code>cat /etc/passwd | grep root</code></p><script>alert(1)</script>"}`),
				post("/wp-json/wp/v2/posts/12", "application/json", `{"status":"draft"}`, "X-HTTP-Method-Override", "PUT"),
				post("/wp-admin/post.php", form, "action=editpost&content=%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
			},
			[]message{
				post("/wp-comments-post.php", form, "comment=%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
				get("/?s=1'+UNION+SELECT+user_pass+FROM+wp_users--+-"),
				post("/wp-login.php", form, "log=%27+or+1%3D1+--+-&pwd=x"),
				post("/other.php", form, "content=%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
			},
		},
		{
			"nextcloud",
			[]message{
				{method: "PROPFIND", target: "/remote.php/dav/files/anna/", fields: browser("Depth", "1", "Content-Type", "application/xml", "Content-Length", "45"), body: `<d:propfind xmlns:d="DAV:"><d:allprop/></d:propfind>`},
				{method: "PUT", target: "/remote.php/dav/files/anna/notes/shell.sh", fields: browser("Content-Type", "text/x-sh", "Content-Length", "34"), body: "#!/bin/sh\ncat /etc/passwd | grep x"},
				post("/login", form, "user=anna&password=%27+or+1%3D1+--+%3Cscript%3E"),
			},
			[]message{
				get("/apps/files/?dir=../../../../etc/passwd"),
				{method: "PUT", target: "/other/shell.sh", fields: browser("Content-Type", "text/x-sh", "Content-Length", "34"), body: "#!/bin/sh\ncat /etc/passwd | grep x"},
				{method: "TRACE", target: "/", fields: browser()},
			},
		},
		{
			"drupal",
			[]message{
				post("/node/12/edit", form, "title%5B0%5D%5Bvalue%5D=Hello&body%5B0%5D%5Bvalue%5D=%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
				post("/user/login", form, "name=anna&pass=%27+or+1%3D1+--+%3Cscript%3E&form_id=user_login_form"),
			},
			[]message{
				post("/node/12/edit", form, "title%5B0%5D%5Bvalue%5D=%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
				post("/comment/reply/node/1/comment", form, "body%5B0%5D%5Bvalue%5D=%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
				post("/user/login", form, "name%5B0%3Bupdate+users+set+name%3D%27x%27%5D=1'+or+1=1--+-&pass=x"),
			},
		},
		{
			"phpmyadmin",
			[]message{
				post("/phpmyadmin/index.php?route=/sql", form, "db=shop&sql_query=SELECT+name%2C+password+FROM+users+WHERE+id%3D1+UNION+SELECT+1%2C2--+-"),
				post("/phpmyadmin/index.php", form, "pma_username=root&pma_password=%27+or+1%3D1+--+%3Cscript%3E"),
			},
			[]message{
				get("/phpmyadmin/index.php?db=1'+UNION+SELECT+1,2--+-"),
				post("/shop/order.php", form, "sql_query=SELECT+name+FROM+users+UNION+SELECT+1--+-"),
			},
		},
		{
			"graphql",
			[]message{
				post("/graphql", "application/graphql", `{ user(id: 1) { name } }`),
				post("/graphql", "application/json", `{"query":"query($n: String!) { user(name: $n) { id } }","variables":{"n":"anna"}}`),
				post("/graphql", "application/json", `{"query":"{ user(name: \"anna\") { id } }"}`),
				post("/graphql", "application/json", `{"query":"query { exec(cmd: \"ls\") { output } } ; # ${HOME}"}`),
			},
			[]message{
				post("/graphql", "application/json", `{"query":"query($n: String!) { user(name: $n) { id } }","variables":{"n":"x' UNION SELECT password FROM users-- -"}}`),
				post("/graphql", "application/json", `{"query":"{ user(name: \"<script>alert(1)</script>\") { id } }"}`),
			},
		},
		{
			"grpc",
			[]message{post("/shop.Orders/List", "application/grpc+proto", "\x00\x00\x00\x00\x05\x0a\x03abc", "TE", "trailers")},
			[]message{
				post("/shop.Orders/List?x=<script>alert(1)</script>", "application/grpc", "\x00\x00\x00\x00\x00", "TE", "trailers"),
				post("/shop", form, "a=1'+UNION+SELECT+1,2--+-"),
			},
		},
	} {
		covered[tt.pack] = true
		without := profile(t, e, waf.Settings{Mode: waf.Block})
		with := profile(t, e, waf.Settings{Mode: waf.Block, Packs: []string{tt.pack}})
		for n, req := range tt.ordinary {
			if v, _ := inspect(without, req); v.Action != waf.Deny {
				t.Errorf("%s: request %d passes without the pack, which then shows nothing", tt.pack, n)
			}
			if v, ev := inspect(with, req); v.Action != waf.Pass {
				t.Errorf("%s: request %d is denied:\n%s", tt.pack, n, ev.AppendModSecurity(nil))
			}
		}
		for n, req := range tt.attacks {
			if v, _ := inspect(with, req); v.Action != waf.Deny {
				t.Errorf("%s: attack %d passes with the pack", tt.pack, n)
			}
		}
	}
	for _, name := range rules.Packs() {
		if !covered[name] {
			t.Errorf("the pack %q has no test", name)
		}
	}
	if _, err := e.Profile(waf.Settings{Packs: []string{"wordpres"}}); err == nil {
		t.Error("a pack that is not there is accepted")
	}
}
