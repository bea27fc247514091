// Package requesttransformer is the plugin request-transformer: it changes
// what the upstream is sent of a request: method, path, header fields, query
// arguments and content.
//
// # How it works
//
// The method and the path come first, then the header fields, the content and
// the query. Of each the order is: remove, rename, replace (only what is
// there), add (only what is not there), append.
//
// With an http_method of GET, HEAD or TRACE, the arguments of content of the type
// application/x-www-form-urlencoded also go behind those of the query, which then
// has at most 64 KiB; 413 above. A form with bytes that cannot stand in a query is
// answered with 400. The content itself goes on.
//
// Header fields: append adds a further field of that name. What is removed or
// renamed does not go on in the trailer either. Host can only be
// replaced. Fields of the connection and those that tell of the client's leg
// (Content-Length, Connection, X-Forwarded-For and their like) are written by
// Bulwark afterwards; changes of them have no effect.
//
// Query arguments, and content of the type application/x-www-form-urlencoded:
// names are compared decoded; append adds a further argument. What is not
// edited goes on byte for byte.
//
// Content of the type application/json: the members of the outermost object are
// edited, their order and the digits of numbers are kept, and of repeated
// members only the last goes on. append makes a string an array of two, adds to
// an array, and replaces everything else by an array of one. Content that is no
// object is left alone. Values are strings.
//
// Content of the type multipart/form-data: parts are edited by their name;
// replace and add make plain text parts, and append adds a part. A part whose
// name readers may differ about is answered with 400: it has no
// Content-Disposition or several, or one that is not form-data, cannot be read or
// holds name* (and so is boundary* in the request's Content-Type).
//
// The type is the one the upstream is told, after the rules for header fields.
// Content of any other type is left alone. Content that is not what its type
// says is answered with 400, and encoded content (Content-Encoding) of a type
// that is edited with 415: it cannot be edited, and must not pass unedited.
//
// # Templates
//
// A value, also that of replace.uri, may contain $(...):
//
//	$(headers['x-user'])  $(headers.x_user)   a header field
//	$(query_params.page)                      a query argument, decoded
//	$(uri_captures['id']) $(uri_captures[1])  a group of the route's path
//	$(headers.a or query_params.a or 'none')  the first of several that is there
//
// After a dot, underscores also stand for dashes in the name of a header field.
// All templates are read before anything is changed. What is not there is
// empty. Anything else within $(...) is an error of the configuration: there is
// no Lua, and no kong.ctx.shared.
//
// A value that cannot stand in a header field, such as one with a line end from
// a query argument, is not sent: the field is left out, a replaced one too, and
// bulwark_refused_fields_total counts it. In replace.uri, what a template
// brings is escaped, and a path with dot segments is answered with 400.
//
// # Limits
//
// An instance with rules for content reads all content of the types that it
// edits, at most 8 MiB; 413 above. A form may have 10000 arguments, a JSON
// object 100000 members and multipart content 1000 parts; 400 above.
package requesttransformer
