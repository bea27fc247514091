package config

import (
	"crypto/x509"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every case is a file from line 2 on, and all of its errors. A case without
// errors is accepted.
func TestRules(t *testing.T) {
	const id, id2 = "0855b320-0dd2-547d-891d-601e9b38647f", "481a9539-f49c-51b6-b2e2-fe99ee68866c"
	const flavored = "node: {router_flavor: expressions}\n"
	tests := []struct {
		name, src string
		want      []string
	}{
		{"null collections", "services:\nroutes: null\nconsumers: []", nil},
		{"defaults written out", "upstreams: [{name: a, hash_on: none, hash_fallback: null, hash_on_cookie_path: /, use_srv_name: false}]", nil},
		{"null means default", "services: [{host: h, retries: null, protocol: null, tags: null}]", nil},
		{"required null", "services: [{host: null}]", []string{"2:13: services[0].host: required field missing (expected a string)"}},
		{"same name twice", "routes: [{name: a, paths: [/]}, {name: a, paths: [/]}]", []string{
			"2:40: routes[1].name: uniqueness violation: 'routes' entity with name set to 'a' already declared (expected another one than on line 2)",
		}},
		{"same name nested and not", "services: [{name: a, host: h, routes: [{name: r, paths: [/]}]}]\nroutes: [{name: r, paths: [/]}]", []string{
			"3:17: routes[0].name: uniqueness violation: 'routes' entity with name set to 'r' already declared (expected another one than on line 2)",
		}},
		{"same id twice", "services: [{id: " + id + ", name: a, host: h}, {id: " + id + ", name: b, host: h}]", []string{
			"2:79: services[1].id: uniqueness violation: 'services' entity with primary key set to '" + id + "' already declared (expected another one than on line 2)",
		}},
		{"same custom_id", "consumers: [{username: a, custom_id: x}, {username: b, custom_id: x}]", []string{
			"2:67: consumers[1].custom_id: uniqueness violation: 'consumers' entity with custom_id set to 'x' already declared (expected another one than on line 2)",
		}},
		{"same instance name", "plugins: [{name: echo, instance_name: i}, {name: strict, instance_name: i, config: {key: k}}]", []string{
			"2:73: plugins[1].instance_name: uniqueness violation: 'plugins' entity with instance_name set to 'i' already declared (expected another one than on line 2)",
		}},
		{"same plugin and scope", "plugins: [{name: echo}, {name: echo}]", []string{
			"2:25: plugins[1].id: uniqueness violation: 'plugins' entity with primary key set to 'ID' already declared (expected another one than on line 2)",
		}},
		{"same plugin and scope, own ids", "plugins: [{name: echo, id: " + id + "}, {name: echo, id: " + id2 + "}]", []string{
			"2:74: plugins[1].name: uniqueness violation: 'plugins' entity with name, route, service, consumer set to 'echo, null, null, null' already declared (expected another one than on line 2)",
		}},
		{"same plugin, nested and by name", "services: [{name: a, host: h, plugins: [{name: echo}]}]\nplugins: [{name: echo, service: a}]", []string{
			"3:18: plugins[0].name: uniqueness violation: 'plugins' entity with name, route, service, consumer set to 'echo, null, ID, null' already declared (expected another one than on line 2)",
		}},
		{"same plugin, other scope", "services: [{name: a, host: h, plugins: [{name: echo}]}]\nplugins: [{name: echo}]", nil},
		{"same target", "upstreams: [{name: u, targets: [{target: a}, {target: a}]}]", []string{
			"2:46: upstreams[0].targets[1].id: uniqueness violation: 'targets' entity with primary key set to 'ID' already declared (expected another one than on line 2)",
		}},
		{"same target spelled otherwise", "upstreams: [{name: u, targets: [{target: a}, {target: \"a:8000\"}]}]", []string{
			"2:55: upstreams[0].targets[1].target: uniqueness violation: 'targets' entity with upstream, target set to 'ID, a:8000' already declared (expected another one than on line 2)",
		}},
		{"same target elsewhere", "upstreams: [{name: u, targets: [{target: a}]}, {name: v, targets: [{target: a}]}]", nil},

		{"dangling name", "routes: [{paths: [/], service: shpo}]\nservices: [{name: shop, host: h}]", []string{
			"2:32: routes[0].service: invalid reference 'service: shpo' (no such entry in 'services') (did you mean \"shop\"?)",
		}},
		{"dangling id", "plugins: [{name: echo, consumer: {id: " + id + "}}]", []string{
			"2:34: plugins[0].consumer: invalid reference 'consumer: {\"id\":\"" + id + "\"}' (no such entry in 'consumers')",
		}},
		{"dangling ca", "services: [{name: s, url: 'https://h', ca_certificates: [" + id + "]}]", []string{
			"2:57: services[0].ca_certificates[0]: invalid reference 'ca_certificates: " + id + "' (no such entry in 'ca_certificates')",
		}},
		{"dangling in a plugin's configuration", "plugins: [{name: echo, config: {group: x}}]", []string{
			"2:40: plugins[0].config.group: invalid reference 'group: x' (no such entry in 'consumers')",
		}},
		{"reference of a wrong type", "routes: [{paths: [/], service: 7}]", []string{
			"2:32: routes[0].service: expected the id or name of one of the services (found 7; expected a string, {id: ...} or {name: ...})",
		}},
		{"reference with a wrong key", "routes: [{paths: [/], service: {nmae: 7}}]", []string{
			"2:32: routes[0].service: expected the id or name of one of the services (found a map; expected a string, {id: ...} or {name: ...})",
		}},
		{"nested names another parent", "services: [{name: a, host: h, routes: [{paths: [/], service: b}]}, {name: b, host: h}]", []string{
			"2:62: services[0].routes[0].service: value must be null (found \"b\"; expected no service other than the one this is nested in)",
		}},

		{"tls fields with http", "services: [{host: h, tls_verify: true, tls_verify_depth: 1}]", []string{
			"2:34: services[0].tls_verify: value must be null (found true; expected no value unless 'protocol' is 'https', 'grpcs' or 'tls')",
			"2:58: services[0].tls_verify_depth: value must be null (found 1; expected no value unless 'protocol' is 'https', 'grpcs' or 'tls')",
		}},
		{"tls fields with https", "services: [{url: 'https://h', tls_verify: true, tls_verify_depth: 64, ca_certificates: []}]", nil},
		{"depth out of range", "services: [{url: 'https://h', tls_verify_depth: 65}]", []string{
			"2:49: services[0].tls_verify_depth: value should be between 0 and 64 (found 65)",
		}},
		{"path with a space", "services: [{host: h, path: '/a b'}]", []string{
			"2:28: services[0].path: invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found) (found \"/a b\")",
		}},
		{"path with a bad escape", "services: [{host: h, path: /a%2}]", []string{
			"2:28: services[0].path: invalid url-encoded value: '%2' (found \"/a%2\")",
		}},
		{"path with an empty segment", "services: [{host: h, path: /a//b}]", []string{
			"2:28: services[0].path: must not have empty segments (found \"/a//b\")",
		}},
		{"empty name", "services: [{host: h, name: ''}]", []string{
			"2:28: services[0].name: length must be at least 1 (found \"\")",
		}},
		{"name in another script", "services: [{host: h, name: läden}]", nil},
		{"bad host", "services: [{host: 'a b'}]", []string{
			"2:19: services[0].host: invalid value: a b (found \"a b\"; expected a host name or an IP address)",
		}},

		{"url and a field that agree", "services: [{url: 'http://h:81/p', port: 81, host: h}]", nil},
		{"url and a field that differ", "services: [{url: 'http://h:81', port: 82}]", []string{
			"2:39: services[0].port: conflicts with 'url' (found \"82\"; expected either 'url' or 'port')",
		}},
		{"url with a query", "services: [{url: 'http://h/?a=b'}]", []string{
			"2:18: services[0].url: a url of a service has no query and no fragment (found \"http://h/?a=b\"; expected a URL such as http://api.internal:8080/path)",
		}},
		{"url with a user", "services: [{url: 'http://me@h/'}]", []string{
			"2:18: services[0].url: a url of a service has no user and no password (found \"http://me@h/\"; expected a URL such as http://api.internal:8080/path)",
		}},
		{"url without a host", "services: [{url: 'http:///x'}]", []string{
			"2:18: services[0].url: missing host in url (found \"http:///x\"; expected a URL such as http://api.internal:8080/path)",
		}},
		{"url with a bad port", "services: [{url: 'http://h:0x/'}]", []string{
			"2:18: services[0].url: invalid port number (found \"http://h:0x/\"; expected a port between 0 and 65535)",
		}},
		{"url that is no string", "services: [{url: 7}]", []string{
			"2:18: services[0].url: expected a string (found \"7\"; expected a URL such as http://api.internal:8080/path)",
		}},
		{"url of an unknown scheme", "services: [{url: 'ftp://h'}]", []string{
			"2:18: services[0].protocol: expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp (found \"ftp\")",
		}},

		{"route without attributes, http", "routes: [{protocols: [http]}]", []string{
			"2:10: routes[0]: must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'",
		}},
		{"route with empty attributes", "routes: [{hosts: [], paths: []}]", []string{
			"2:10: routes[0]: must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'",
		}},
		{"route without protocols", "routes: [{protocols: [], paths: [/]}]", []string{
			"2:22: routes[0].protocols: length must be at least 1 (found a list)",
		}},
		{"route with one bad attribute", "routes: [{paths: [x]}]", []string{
			"2:19: routes[0].paths[0]: should start with: / (fixed path) or ~/ (regex path) (found \"x\")",
		}},
		{"stream routes", "routes: [{protocols: [tcp, tls, udp], sources: [{ip: 10.0.0.0/8}, {port: 53}], destinations: [{ip: '::1', port: 0}], snis: [a.test, '*.b.test']}, {protocols: [tls_passthrough], snis: [c.test], sources: [{port: 1}]}]", nil},
		{"stream route without attributes", "routes: [{protocols: [udp]}, {protocols: [tls_passthrough], sources: [{port: 1}]}]", []string{
			"2:10: routes[0]: must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp'",
			"2:30: routes[1]: must set snis when 'protocols' is 'tls_passthrough'",
		}},
		{"stream route with attributes of requests", "routes: [{protocols: [tcp], methods: [GET], hosts: [a.test], paths: [/], headers: {a: [b]}, sources: [{port: 1}]}]", []string{
			"2:38: routes[0].methods: cannot set 'methods' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp' (found a list)",
			"2:52: routes[0].hosts: cannot set 'hosts' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp' (found a list)",
			"2:69: routes[0].paths: cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp' (found a list)",
			"2:83: routes[0].headers: cannot set 'headers' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp' (found a map)",
		}},
		{"route of requests with attributes of streams", "routes: [{paths: [/], sources: [{port: 1}], destinations: [{ip: '::1'}]}]", []string{
			"2:32: routes[0].sources: cannot set 'sources' when 'protocols' is 'http' or 'https' (found a list)",
			"2:59: routes[0].destinations: cannot set 'destinations' when 'protocols' is 'http' or 'https' (found a list)",
		}},
		{"stream addresses", "routes: [{protocols: [tcp], sources: [{}, {ip: 10.0.0.0/33}, {port: 65536}, {ip: null, port: null}, {prot: 1}]}]", []string{
			"2:39: routes[0].sources[0]: at least one of these fields must be non-empty: 'ip', 'port'",
			"2:48: routes[0].sources[1].ip: invalid ip or cidr range: '10.0.0.0/33' (found \"10.0.0.0/33\"; expected an address or range such as \"192.0.2.7\", \"10.0.0.0/8\" or \"2001:db8::/32\")",
			"2:69: routes[0].sources[2].port: value should be between 0 and 65535 (found 65536)",
			"2:77: routes[0].sources[3]: at least one of these fields must be non-empty: 'ip', 'port'",
			"2:101: routes[0].sources[4]: at least one of these fields must be non-empty: 'ip', 'port'",
			"2:102: routes[0].sources[4].prot: unknown field (did you mean \"port\"?)",
		}},
		{"snis of plain streams", "routes: [{protocols: [tcp, udp], snis: [a.test]}]", []string{
			"2:40: routes[0].snis: 'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough' (found a list)",
		}},
		{"protocols of two groups", "routes: [{protocols: [tls, tls_passthrough], snis: [a.test]}, {protocols: [http, tcp], paths: [/]}]", []string{
			"2:22: routes[0].protocols: these sets are mutually exclusive: ('tcp', 'tls', 'udp'), ('tls_passthrough') (found a list)",
			"2:75: routes[1].protocols: these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp') (found a list)",
		}},
		{"expression of streams", flavored + "routes: [{protocols: [tcp], expression: 'net.dst.port == 1'}, {protocols: [tls_passthrough], expression: 'tls.sni == \"a\"', priority: 1}]", nil},
		{"expression of streams about a request", flavored + "routes: [{protocols: [tls], expression: 'http.path == \"/\"'}]", []string{
			"3:41: routes[0].expression: Router Expression failed validation: streams have no field \"http.path\" (found \"http.path == \\\"/\\\"\"; expected the fields tls.sni and net.*)",
		}},
		{"stream services", "services: [{url: 'tcp://h:6379'}, {url: 'udp://h:53'}, {url: 'tls://h:6380', tls_verify: true}, {url: 'tls_passthrough://h:443'}]", nil},
		{"stream services with a path", "services: [{url: 'tcp://h:1/p'}, {protocol: udp, host: h, path: /p}]", []string{
			"2:18: services[0].path: value must be null (found \"/p\"; expected no value, since 'protocol' is 'tcp')",
			"2:65: services[1].path: value must be null (found \"/p\"; expected no value, since 'protocol' is 'udp')",
		}},
		{"tls fields with a plain stream", "services: [{protocol: tcp, host: h, tls_verify: true}]", []string{
			"2:49: services[0].tls_verify: value must be null (found true; expected no value unless 'protocol' is 'https', 'grpcs' or 'tls')",
		}},
		{"stream routes to services", "services: [{name: t, url: 'tcp://h:1'}, {name: s, url: 'tls://h:1'}, {name: p, url: 'tls_passthrough://h:1'}]\n" +
			"routes: [{protocols: [tcp, tls, udp], sources: [{port: 1}], service: t}, {protocols: [tls, tcp], snis: [a.test], service: s}, {protocols: [tls_passthrough], snis: [a.test], service: p}, {protocols: [tls_passthrough], snis: [b.test], service: t}]", nil},
		{"stream routes to services that cannot take them", "services: [{name: w, url: 'http://h:1'}, {name: s, url: 'tls://h:1'}, {name: t, url: 'tcp://h:1', routes: [{paths: [/]}]}]\n" +
			"routes: [{protocols: [tcp], sources: [{port: 1}], service: w}, {protocols: [tls, udp], sources: [{port: 1}], service: s}]", []string{
			"2:108: services[2].routes[0].protocols: a route with protocol 'http' cannot go to a service with protocol 'tcp' (expected another protocol of the route, or of service \"t\")",
			"3:22: routes[0].protocols: a route with protocol 'tcp' cannot go to a service with protocol 'http' (expected another protocol of the route, or of service \"w\")",
			"3:76: routes[1].protocols: a route with protocol 'udp' cannot go to a service with protocol 'tls' (expected another protocol of the route, or of service \"s\")",
		}},
		{"an audit log of its own", "node: {log: {access: stdout, waf: stdout, waf_audit: stdout}}", nil},
		{"the audit log in that of events", "node: {log: {waf: /l/waf.log, waf_audit: /l/./waf.log}}", []string{
			`2:42: node.log.waf_audit: the file is that of 'waf' already, which more may read than the audit log (found "/l/./waf.log")`,
		}},
		{"the audit log in the access log", "node: {log: {access: /l/a.log, waf_audit: //l/a.log}}", []string{
			`2:43: node.log.waf_audit: the file is that of 'access' already, which more may read than the audit log (found "//l/a.log")`,
		}},
		{"listeners of streams", "node: {listeners: [{name: a, address: ':53', serve: udp, limits: {flows_per_address: 0, new_flows_per_second: 0}}, {name: b, address: ':53', serve: tcp, proxy_protocol: ['::1']}, {name: c, address: ':1', serve: tls}]}", nil},
		{"listeners of datagrams", "node: {listeners: [{name: a, address: ':53', serve: udp, proxy_protocol: ['::1']}, {name: b, address: ':53', serve: udp}]}", []string{
			"2:103: node.listeners[1].address: the address is used by listener 1 already (found \":53\")",
		}},
		{"limits of streams", "node: {limits: {flows: 0, hello_bytes: 17KiB, flow_idle_timeout: 1ms}}", []string{
			"2:24: node.limits.flows: value should be between 1 and 10000000 (found 0)",
			"2:40: node.limits.hello_bytes: value should be between 1KiB and 16KiB (found \"17KiB\")",
			"2:66: node.limits.flow_idle_timeout: value should be between 100ms and 24h (found \"1ms\")",
		}},
		{"expression", flavored + "routes: [{expression: 'http.path == \"/\"', priority: 70368744177663}]", nil},
		{"expression and match fields in one file", flavored + "routes: [{expression: 'http.path == \"/\"'}, {paths: [/], path_handling: v1}]", nil},
		{"expression of another flavour", "routes: [{expression: 'http.path == \"/\"'}]", []string{
			"2:23: routes[0].expression: cannot be set unless node.router_flavor is 'expressions' (found \"http.path == \\\"/\\\"\"; expected the other router flavour, or 'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations')",
		}},
		{"expression with match fields", flavored + "routes: [{expression: 'http.path == \"/\"', snis: [a.test]}]", []string{
			"3:23: routes[0].expression: Router Expression failed validation: cannot set 'expression' with 'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously (found \"http.path == \\\"/\\\"\"; expected either an expression or the other fields)",
		}},
		{"expression with regex_priority", flavored + "routes: [{expression: 'http.path == \"/\"', regex_priority: 1}]", []string{
			"3:59: routes[0].regex_priority: Router Expression failed validation: cannot set 'regex_priority' with 'expression' simultaneously (found 1; expected 'priority')",
		}},
		{"expression with v1", flavored + "routes: [{expression: 'http.path == \"/\"', path_handling: v1}]", []string{
			"3:58: routes[0].path_handling: v1 does not work with an expression (found \"v1\"; expected v0)",
		}},
		{"expression that is wrong", flavored + "routes: [{expression: 'http.path'}]", []string{
			"3:23: routes[0].expression: Router Expression failed validation: line 1, column 10: missing operator, found the end (found \"http.path\"; expected ==, !=, ~, ^=, =^ or contains)",
		}},
		{"expression with an unknown field", flavored + "routes: [{expression: 'http.pth == \"/\"'}]", []string{
			"3:23: routes[0].expression: Router Expression failed validation: line 1, column 1: unknown field, found \"http.pth\" (found \"http.pth == \\\"/\\\"\"; expected \"http.path\")",
		}},
		{"empty expression", flavored + "routes: [{expression: ''}]", []string{
			"3:23: routes[0].expression: length must be at least 1 (found \"\")",
		}},
		{"priority with match fields", flavored + "routes: [{paths: [/], priority: 1}]", []string{
			"3:33: routes[0].priority: Router Expression failed validation: cannot set 'priority' with 'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously (found 1)",
		}},
		{"priority out of range", flavored + "routes: [{expression: 'http.path == \"/\"', priority: 70368744177664}]", []string{
			"3:53: routes[0].priority: value should be between 0 and 70368744177663 (found 70368744177664)",
		}},
		{"priority alone", flavored + "routes: [{priority: 1}]", []string{
			"3:10: routes[0]: must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'",
		}},
		{"unknown flavour", "node: {router_flavor: expression}\nroutes: [{expression: 'http.path == \"/\"'}]", []string{
			"2:23: node.router_flavor: expected one of: traditional_compatible, traditional, expressions (found \"expression\")",
		}},
		{"route header expression", "routes: [{headers: {a: ['~*(']}}]", []string{
			"2:25: routes[0].headers.a[0]: invalid regex: '(' (RE2 returned: missing closing ): `(`) (found \"~*(\"; expected an expression in RE2 syntax, which has no look-around and no back-references)",
		}},
		{"route look-behind", "routes: [{paths: ['~/(?<!a)b']}]", []string{
			"2:19: routes[0].paths[0]: invalid regex: '/(?<!a)b' (RE2 returned: invalid named capture: `(?<!a)b`) (found \"~/(?<!a)b\"; expected an expression in RE2 syntax, which has no look-around and no back-references)",
		}},
		{"null in a list", "routes: [{paths: [null]}]", []string{
			"2:19: routes[0].paths[0]: required field missing (found null; expected a string)",
		}},
		{"host with a port", "routes: [{hosts: ['a:80', '*.b:81', 'a:99999']}]", []string{
			"2:37: routes[0].hosts[2]: invalid port number (found \"a:99999\"; expected a port between 0 and 65535)",
		}},

		{"upstream names", "upstreams: [{name: 'a:80'}, {name: '::1'}, {name: 'a b'}]", []string{
			"2:20: upstreams[0].name: Invalid name ('a:80'); no port allowed (found \"a:80\")",
			"2:36: upstreams[1].name: Invalid name ('::1'); no ip addresses allowed (found \"::1\")",
			"2:51: upstreams[2].name: Invalid name ('a b'); must be a valid hostname (found \"a b\")",
		}},
		{"hash_on names what to hash", "upstreams: [{name: a, hash_on: header}, {name: b, hash_on: cookie}, {name: c, hash_on: query_arg}, {name: d, hash_on: uri_capture}]", []string{
			"2:13: upstreams[0].hash_on_header: required field missing (expected the name of what to hash)",
			"2:41: upstreams[1].hash_on_cookie: required field missing (expected the name of what to hash)",
			"2:69: upstreams[2].hash_on_query_arg: required field missing (expected the name of what to hash)",
			"2:100: upstreams[3].hash_on_uri_capture: required field missing (expected the name of what to hash)",
		}},
		{"hash_fallback names what to hash", "upstreams: [{name: a, hash_on: ip, hash_fallback: query_arg}, {name: b, hash_on: ip, hash_fallback: cookie}]", []string{
			"2:13: upstreams[0].hash_fallback_query_arg: required field missing (expected the name of what to hash)",
			"2:63: upstreams[1].hash_on_cookie: required field missing (expected the name of what to hash)",
		}},
		{"hash_fallback without need", "upstreams: [{name: a, hash_fallback: ip}, {name: b, hash_on: cookie, hash_on_cookie: c, hash_fallback: ip}]", []string{
			"2:38: upstreams[0].hash_fallback: expected one of: none (found \"ip\"; expected none, since 'hash_on' is 'none')",
			"2:104: upstreams[1].hash_fallback: expected one of: none (found \"ip\"; expected none, since 'hash_on' is 'cookie')",
		}},
		{"hash_fallback that is hash_on", "upstreams: [{name: a, hash_on: ip, hash_fallback: ip}, {name: b, hash_on: header, hash_on_header: X-A, hash_fallback: header, hash_fallback_header: x-a}]", []string{
			"2:51: upstreams[0].hash_fallback: must not be the same as 'hash_on' (found \"ip\"; expected another value than 'ip')",
			"2:149: upstreams[1].hash_fallback_header: values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header' (found \"x-a\")",
		}},
		{"two arguments to hash", "upstreams: [{name: a, hash_on: query_arg, hash_on_query_arg: x, hash_fallback: query_arg, hash_fallback_query_arg: X}]", nil},
		{"cookie that breaks out", "upstreams: [{name: a, hash_on: cookie, hash_on_cookie: 'a;b', hash_on_cookie_path: '/;Domain=b'}]", []string{
			"2:56: upstreams[0].hash_on_cookie: invalid value: a;b (found \"a;b\"; expected a match of ^[!#$%&'*+.^_\\x60|~0-9A-Za-z-]+$)",
			"2:84: upstreams[0].hash_on_cookie_path: a cookie's path has no semicolon (found \"/;Domain=b\")",
		}},
		{"health checks by default", "upstreams: [{name: a, healthchecks: {active: {unhealthy: {interval: 0}}, passive: {type: grpc}}}]", nil},
		{"health check by probes", "upstreams: [{name: a, healthchecks: {active: {type: tcp, timeout: 0.5, headers: {Host: [b], X-A: [c, d]}, healthy: {interval: 0.2, successes: 1}, unhealthy: {interval: 5, tcp_failures: 1, timeouts: 2, http_failures: 3}}}}]", nil},
		{"health check of grpc", "upstreams: [{name: a, healthchecks: {active: {type: grpc}}}]", []string{
			"2:53: upstreams[0].healthchecks.active.type: not served by this version of Bulwark (found \"grpc\"; expected tcp or http or https or udp)",
		}},
		{"health check with fields that break out", "upstreams: [{name: a, healthchecks: {active: {headers: {'X:': [a], X: [\"a\\r\\nb\"]}}}}]", []string{
			"2:57: upstreams[0].healthchecks.active.headers[\"X:\"]: bad header name 'X:', allowed characters are A-Z, a-z, 0-9, '_', and '-' (found \"X:\")",
			"2:72: upstreams[0].healthchecks.active.headers.X[0]: invalid header value \"a\\r\\nb\" (found \"a\\r\\nb\"; expected text without control characters and without space at its ends)",
		}},
		{"health check by datagrams", "upstreams: [{name: a, healthchecks: {active: {type: udp, udp_send: 'BE EF 0100', udp_expect: 0100}}}]", nil},
		{"health check by datagrams without one", "upstreams: [{name: a, healthchecks: {active: {type: udp}}}]", []string{
			"2:46: upstreams[0].healthchecks.active.udp_send: required field missing (expected the payload that a probe of type udp sends)",
		}},
		{"health check by what is no bytes", "upstreams: [{name: a, healthchecks: {active: {type: udp, udp_send: ping, udp_expect: '0 10'}}}]", []string{
			"2:68: upstreams[0].healthchecks.active.udp_send: expected bytes in hexadecimal digits (found \"ping\"; expected pairs of digits such as \"0d0a\" or \"0d 0a\")",
			"2:86: upstreams[0].healthchecks.active.udp_expect: expected bytes in hexadecimal digits (found \"0 10\"; expected pairs of digits such as \"0d0a\" or \"0d 0a\")",
		}},
		{"health check with more than a datagram has", "upstreams: [{name: a, healthchecks: {active: {type: udp, udp_send: '" + strings.Repeat("00", 1233) + "'}}}]", []string{
			"2:68: upstreams[0].healthchecks.active.udp_send: length must be at most 1232 bytes (found \"" + strings.Repeat("0", 60) + "\"...)",
		}},
		{"health check with datagrams of another type", "upstreams: [{name: a, healthchecks: {active: {type: tcp, udp_send: '00'}}}]", []string{
			"2:68: upstreams[0].healthchecks.active.udp_send: is of no use to a probe of type tcp (found \"00\"; expected the type udp beside it)",
		}},
		{"health check with framing", "upstreams: [{name: a, healthchecks: {active: {headers: {content-Length: ['5']}}}}]", []string{
			"2:73: upstreams[0].healthchecks.active.headers.content-Length: a probe has no content and closes its connection (found a list; expected a field other than Connection, Content-Length, Transfer-Encoding, Upgrade and Expect)",
		}},

		{"plugin protocols", "routes: [{name: r, protocols: [https], paths: [/], plugins: [{name: echo, protocols: [http]}]}]", []string{
			"2:86: routes[0].plugins[0].protocols: must match the associated route's protocols",
		}},
		{"plugin protocols of a service", "services: [{name: s, host: h, plugins: [{name: echo, protocols: [http]}], routes: [{protocols: [https], paths: [/]}]}]", []string{
			"2:65: services[0].plugins[0].protocols: must match the protocols of at least one route pointing to this Plugin's service",
		}},
		{"plugin protocols of a service without routes", "services: [{name: s, host: h, plugins: [{name: echo, protocols: [http]}]}]", nil},
		{"plugin default set", "plugins: [{name: echo, protocols: [grpc, grpcs, http, https]}]", nil},
		{"plugin without configuration", "plugins: [{name: strict}]", []string{
			"2:11: plugins[0].config.key: required field missing (expected a string)",
		}},
		{"plugin without a name", "plugins: [{enabled: true}]", []string{
			"2:11: plugins[0].name: required field missing (expected a string)",
		}},

		{"snis as names and records", "certificates: [{cert: CERT, key: KEY, snis: [a.example, {name: b.example, tags: [x]}]}]", nil},
		{"sni twice", "certificates: [{cert: CERT, key: KEY, snis: [a.example, a.example]}]", []string{
			"2:LATER: certificates[0].snis[1].name: uniqueness violation: 'snis' entity with name set to 'a.example' already declared (expected another one than on line 2)",
		}},
		{"sni without certificate", "snis: [{name: a.example}]", []string{
			"2:8: snis[0].certificate: required field missing (expected the id or name of one of the certificates)",
		}},
		{"sni with two wildcards", "certificates: [{cert: CERT, key: KEY, snis: ['*.a.*', 10.0.0.1, 'a:80']}]", []string{
			"2:LATER: certificates[0].snis[0].name: only one wildcard must be specified (found \"*.a.*\")",
			"2:LATER: certificates[0].snis[1].name: must not be an IP (found \"10.0.0.1\")",
			"2:LATER: certificates[0].snis[2].name: must not have a port (found \"a:80\")",
		}},
		{"foreign key", "certificates: [{cert: CERT, key: OTHER}]", []string{
			"2:LATER: certificates[0].key: certificate does not match key (found ***)",
		}},
		{"two of a kind", "certificates: [{cert: CERT, key: KEY, cert_alt: CERT, key_alt: KEY}]", []string{
			"2:LATER: certificates[0].cert_alt: certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided certificates were both of the same type (found CERT)",
		}},
		{"foreign alternative", "certificates: [{cert: CERT, key: KEY, cert_alt: EDCERT, key_alt: KEY}]", []string{
			"2:LATER: certificates[0].key_alt: alternative certificate does not match key (found ***)",
		}},
		{"two kinds", "certificates: [{cert: CERT, key: KEY, cert_alt: EDCERT, key_alt: EDKEY}]", nil},
		{"half a pair", "certificates: [{cert: CERT, key: KEY, key_alt: KEY}]", []string{
			"2:16: certificates[0]: all or none of these fields must be set: 'cert_alt', 'key_alt'",
		}},

		{"ca", "ca_certificates: [{cert: CA}]", nil},
		{"ca twice", "ca_certificates: [{cert: CA, tags: [a]}, {cert: CA}]", []string{
			"2:LATER: ca_certificates[1].cert: uniqueness violation: 'ca_certificates' entity with cert_digest set to 'DIGEST' already declared (expected another one than on line 2)",
		}},
		{"no ca", "ca_certificates: [{cert: CERT}]", []string{
			"2:26: ca_certificates[0].cert: certificate does not appear to be a CA because it is missing the \"CA\" basic constraint (found CERT)",
		}},
		{"expired ca", "ca_certificates: [{cert: OLD}]", []string{
			"2:26: ca_certificates[0].cert: certificate expired, \"Not After\" time is in the past (found CERT)",
		}},
		{"two cas", "ca_certificates: [{cert: TWO}]", []string{
			"2:26: ca_certificates[0].cert: please submit only one certificate at a time (found CERT)",
		}},
		{"ca with another digest", "ca_certificates: [{cert: CA, cert_digest: ab}]", []string{
			"2:LATER: ca_certificates[0].cert_digest: value must be DIGEST (found \"ab\")",
		}},

		{"status on a listener", "node: {listeners: [{name: a, address: ':8007'}], status: ':8007'}", []string{
			"2:58: node.status: the address is used by listener \"a\" already (found \":8007\")",
		}},
		{"listener that is off", "node: {listeners: [{name: a, address: off}]}", []string{
			"2:39: node.listeners[0].address: expected an address and a port (found \"off\"; expected a listener with an address, or none at all)",
		}},
		{"two listeners on any port", "node: {listeners: [{name: a, address: '127.0.0.1:0'}, {name: b, address: '127.0.0.1:0'}]}", nil},
		{"target greater than head", "node: {limits: {head_bytes: 4KiB}}", []string{
			"2:29: node.limits.head_bytes: 'target_bytes' (8KiB) cannot be greater than 'head_bytes' (4KiB) (found \"4KiB\")",
		}},
		{"no node", "node:", nil},
		{"node of a wrong type", "node: [a]", []string{"2:7: node: expected a record (found a list; expected a map of names to values)"}},
	}
	words := pemWords(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := loadErrors(t, versioned(words.Replace(tt.src)), testOrigin{})
			for i := range got {
				got[i] = normalize(got[i], i < len(tt.want) && strings.HasPrefix(tt.want[i], "2:LATER"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// pemWords puts certificates in place of the words of the cases.
func pemWords(t *testing.T) *strings.Replacer {
	t.Helper()
	cert, key := testPair(t, nil)
	_, other := testPair(t, nil)
	edCert, edKey := testCert(t, testEd25519(t), nil)
	ca, _ := testPair(t, func(c *x509.Certificate) { c.IsCA = true })
	old, _ := testPair(t, func(c *x509.Certificate) { c.IsCA, c.NotAfter = true, time.Now().Add(-time.Minute) })
	return strings.NewReplacer(
		"EDCERT", quoted(t, edCert), "EDKEY", quoted(t, edKey), "CERT", quoted(t, cert), "KEY", quoted(t, key),
		"OTHER", quoted(t, other), "CA}", quoted(t, ca)+"}", "CA,", quoted(t, ca)+",", "OLD", quoted(t, old), "TWO", quoted(t, ca+ca),
	)
}

// foundPEM is what is told of a field of PEM.
var foundPEM = regexp.MustCompile(`\(found [0-9]{3,} bytes`)

// normalize replaces what differs from run to run.
func normalize(s string, later bool) string {
	s = foundPEM.ReplaceAllString(s, "(found CERT")
	for _, field := range []string{"primary key set to '", "service, consumer set to 'echo, null, ", "upstream, target set to '"} {
		if i := strings.Index(s, field); i >= 0 {
			from := i + len(field)
			if _, err := ParseID(s[from:min(from+36, len(s))]); err == nil && !strings.Contains(s, "0855b320") {
				s = s[:from] + "ID" + s[from+36:]
			}
		}
	}
	for _, before := range []string{"cert_digest set to '", "value must be "} {
		if i := strings.Index(s, before); i >= 0 && len(s) > i+len(before)+64 && !strings.Contains(s, "value must be null") {
			s = s[:i+len(before)] + "DIGEST" + s[i+len(before)+64:]
		}
	}
	if later {
		_, rest, _ := strings.Cut(strings.TrimPrefix(s, "2:"), ":")
		s = "2:LATER:" + rest
	}
	return s
}

// Every collection and key that Kong or decK has and this version does not is
// refused by its name, at the top level and nested.
func TestUnservedNames(t *testing.T) {
	for name := range unservedNames {
		t.Run(name, func(t *testing.T) {
			got := loadErrors(t, versioned(name+": []\nconsumers: [{username: a, "+name+": []}]"), testOrigin{})
			want := []string{
				"2:1: " + name + ": not served by this version of Bulwark (expected this key to be left out)",
				"3:27: consumers[0]." + name + ": not served by this version of Bulwark (expected this key to be left out)",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFormatVersion(t *testing.T) {
	for src, want := range map[string]string{
		`_format_version: "3.0"`: "",
		`_format_version: "4.0"`: `1:18: _format_version: expected one of: 1.1, 2.1, 3.0 (found "4.0")`,
		`services: []`:           `1:1: _format_version: required field missing (expected one of 1.1, 2.1, 3.0)`,
		``:                       `1:1: _format_version: required field missing (expected one of 1.1, 2.1, 3.0)`,
		`[]`:                     `1:1: expected a record (found a list; expected a map of names to values)`,
		"a: b\n- c":              `1:1: not valid YAML near this line: did not find expected key`,
	} {
		got := strings.Join(loadErrors(t, []byte(src), testOrigin{}), "\n")
		if got != want {
			t.Errorf("%q gave %s, want %s", src, got, want)
		}
	}
}

func TestCertificatePairs(t *testing.T) {
	c := mustLoad(t, pemWords(t).Replace(`
certificates:
- {id: 0855b320-0dd2-547d-891d-601e9b38647f, cert: CERT, key: KEY, cert_alt: EDCERT, key_alt: EDKEY, snis: [b.example]}
snis: [{name: a.example, certificate: 0855b320-0dd2-547d-891d-601e9b38647f}]
ca_certificates: [{cert: CA}]
`))
	cert := c.Certificates.All()[0]
	if n := len(cert.Pairs()); n != 2 {
		t.Fatalf("the certificate has %d pairs", n)
	}
	for i, p := range cert.Pairs() {
		if p.Leaf == nil || p.PrivateKey == nil || len(p.Certificate) != 1 {
			t.Errorf("pair %d is incomplete", i)
		}
	}
	if diff := cmp.Diff([]string{"a.example", "b.example"}, cert.SNIs); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for _, s := range c.SNIs.All() {
		if s.Certificate.ID != cert.ID {
			t.Errorf("name %s belongs to %v", s.Name, s.Certificate.ID)
		}
	}
	text := toJSON(t, cert)
	if !strings.Contains(text, `"key":"***"`) || !strings.Contains(text, `"key_alt":"***"`) || strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("marshalled as %s", text)
	}
	if ca := c.CACertificates.All()[0]; len(ca.CertDigest) != 64 || ca.X509() == nil {
		t.Errorf("the CA certificate is %s", toJSON(t, ca))
	}
}

func TestKeyEncodings(t *testing.T) {
	for name, text := range map[string]string{
		"none":      "text",
		"encrypted": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"old style": "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES,0\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"old curve": "-----BEGIN EC PRIVATE KEY-----\nDEK-Info: AES,0\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
		"garbage":   "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if _, err := parseKey(text); err == nil {
			t.Errorf("%s: the key was accepted", name)
		}
	}
}
