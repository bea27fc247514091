// Package waf is the plugin waf: it inspects requests and responses with the OWASP
// Core Rule Set, or with rules of your own, and blocks attacks or tells of them.
//
// # How it works
//
// The rules see each request as it was sent: all fields in their order and
// spelling, the target as it stood in the request line. Rules that match add to
// the score of the request. If it reaches inbound_threshold, mode block answers
// 403 in place of asking the upstream; mode detect lets it pass. The upstream's
// answer is judged in the same way by outbound_threshold. An instance of a route
// goes before one of its service, and that before a global one; mode off on a
// route takes it out.
//
// The rules are those that are built in, or what node.waf.rules and directives make
// of them. They are compiled to one engine for each different text, whatever the
// number of instances; all other settings act on the single exchange. Rules with
// errors are refused with file, line and reason, and the old ones serve on. A
// directory of rules is watched, and all that is in it changes at once or not at
// all.
//
// What would switch the firewall off by accident is refused: exclusions of the
// rules that decide, exclusions that leave nothing, and in mode block directives
// that do either or say SecRuleEngine DetectionOnly.
//
// # Content
//
// The first request_body.limit bytes of a request are waited for, inspected, and
// only then sent on. Longer content is refused with 413 if rules read it, such as
// forms, JSON and XML; of multipart and binary content the rest is streamed, unseen.
// request_body.beyond says otherwise. A
// client that waits for 100 (Continue) gets it when reading begins. Content of
// gRPC is never waited for, nor is what follows the answer to an Upgrade, such as
// WebSocket. What is encoded (gzip, deflate, br, zstd) is decoded for the rules;
// what cannot be is refused with 415, or with 400 if it is broken, if its
// beginning decodes to nothing, or if it has room for what no decoder gives out. In
// mode detect it passes. Decoding serves upstreams that decode: an upstream that
// takes the bytes as they are wants request_decoding refuse.
//
// If the engine itself fails, mode block answers 500 unless fail_mode is open; mode
// detect lets the request pass, and tells the error.
//
// Of responses, those whose media type is in response_body.types are held back,
// head and all, until response_body.limit bytes of their content or all of it are
// here and inspected. All others, streams of events among them, are passed on as
// they come, after their head is inspected. Where content is inspected, the
// upstream is asked for it without encoding.
//
// Whatever the rules have not seen stands in the event and is counted by reason:
// the metric bulwark_waf_uninspected_parts_total.
//
// Fields behind the content of a request are seen by no rule. They are kept from the
// upstream, in mode detect too, unless request_trailers is pass.
//
// # What is seen
//
// A request that is refused for being no right HTTP never has a route. Global
// instances show its head to the rules when it has been answered, for the event
// alone, whose action is refused.
//
// Each exchange in which a rule matched, or a part was not inspected, is an event in
// node.log.waf: the rules, what they matched in (cut, and with secrets masked), the
// scores by category and paranoia level, the request's id, route and service, and
// what was done. The access log has the reason waf for what was denied.
//
// node.log.waf_audit writes records in the form of Coraza's audit log besides.
// bulwark waf explain, try and replay look at events, at requests from files, and at
// what another configuration would make of what is in the logs; see waf.md.
//
// Metrics: bulwark_waf_inspected_requests_total, bulwark_waf_blocked_requests_total,
// bulwark_waf_rule_matches_total by rule, bulwark_waf_score, a histogram,
// bulwark_waf_phase_seconds_total, bulwark_waf_uninspected_parts_total,
// bulwark_waf_refused_requests_total, bulwark_waf_panics_total,
// bulwark_waf_engines_active and bulwark_waf_rules_info with the
// versions of the rules.
//
// # Limits
//
// Content that waits counts in node.limits.body_buffers; while it is inspected the
// engine keeps about three times as much. Events have 200 matches at the most, and
// 256 bytes of a value. An engine takes about 20 MB.
// Long content that is inspected takes processor time: with the Core Rule Set 16 KiB
// of JSON take a fifth of a second. Attacks behind the first request_body.limit bytes
// of multipart content are not seen unless beyond is reject.
package waf
