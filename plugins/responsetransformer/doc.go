// Package responsetransformer is the plugin response-transformer: it changes
// the header fields and the JSON content of answers, ours as well as the
// upstream's.
//
// # How it works
//
// Of header fields and of JSON the order is: remove, rename, replace (only what
// is there), add (only what is not there), append.
//
// The members of the outermost object of content of the type application/json,
// or application/ANYTHING+json, are edited; their order and the digits of
// numbers are kept, and of repeated members only the last goes on. append makes
// a string an array of two, adds to an array, and replaces everything else by an
// array of one. json_types says, element by element, what the values of json
// are; without it they are strings. Content that is JSON but no object is left
// alone, and so is content of another type.
//
// With rules for JSON, the upstream is asked for all of the content (Range and
// If-Range do not go on) and for content without encoding, since neither a part
// nor encoded content can be edited. JSON that comes encoded all the same, or as
// a part (206), is answered with 502, and so are several parts
// (multipart/byteranges) of whatever type: a member that is to be removed must
// not pass because it could not be read. Content that is not valid JSON,
// although its type says so, is broken off for the same reason.
//
// Fields that say what the bytes of the content are (Content-MD5, Digest,
// Content-Digest, Repr-Digest) are removed from answers whose content is edited.
// An answer from the cache of proxy-cache was edited when it was stored, and is
// not edited again; after a reload with other rules it is not used any more.
// Fields that Bulwark writes afterwards (Content-Length, Connection, Via and its
// own) cannot be changed.
//
// # Limits
//
// JSON is gathered before it is edited, at most 8 MiB of it and 100000 members.
// An answer that says it is longer is answered with 502; one that turns out to
// be is broken off. What all instances together hold is at most 256 MiB; when it
// is used up, answers are answered with 502 or broken off in the same way.
package responsetransformer
