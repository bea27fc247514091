package proxycache

import (
	"mime"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration, as Kong has it.
type Config struct {
	Strategy        string          `json:"strategy" required:"true" enum:"memory" doc:"Where answers are stored: memory, which is that of the process."`
	ResponseCode    []int           `json:"response_code" default:"[200, 301, 404]" min:"100" max:"900" len_min:"1" doc:"Statuses of answers that are stored."`
	RequestMethod   []string        `json:"request_method" default:"[GET, HEAD]" enum:"HEAD,GET,POST,PATCH,PUT" len_min:"1" doc:"Methods of requests whose answers are stored."`
	ContentType     []string        `json:"content_type" default:"[text/plain, application/json]" doc:"Media types of answers that are stored. Parameters must be the same; type/* and */* stand for all of a kind."`
	CacheTTL        int             `json:"cache_ttl" default:"300" min:"1" max:"315360000" doc:"How long an answer is fresh, in seconds, without cache_control."`
	StorageTTL      *int            `json:"storage_ttl" min:"1" max:"315360000" doc:"How long an answer is kept, in seconds; as long as it is fresh if this is null. With cache_control, stale answers serve requests with max-stale."`
	CacheControl    bool            `json:"cache_control" default:"false" doc:"Whether Cache-Control of requests and answers is obeyed."`
	IgnoreURICase   bool            `json:"ignore_uri_case" default:"false" doc:"Whether paths that differ in case only are the same."`
	VaryQueryParams []string        `json:"vary_query_params" unique:"true" doc:"Names of the query arguments that answers depend on; all if there are none."`
	VaryHeaders     []string        `json:"vary_headers" unique:"true" check:"header_name" doc:"Names of the request's header fields that answers depend on, beside those that answers name in Vary."`
	Memory          Memory          `json:"memory" doc:"Where in memory."`
	ResponseHeaders ResponseHeaders `json:"response_headers" doc:"What clients are told."`
}

// Memory names a store.
type Memory struct {
	DictionaryName string `json:"dictionary_name" default:"kong_db_cache" doc:"Name of the store. Instances with the same name share answers; all stores together are bounded by node.limits.cache_bytes."`
}

// ResponseHeaders says which fields answers get.
type ResponseHeaders struct {
	Age    bool `json:"age" default:"true" doc:"Whether answers from the cache have Age."`
	Status bool `json:"X-Cache-Status" default:"true" doc:"Whether answers have X-Cache-Status: Hit, Miss, Refresh or Bypass."`
	Key    bool `json:"X-Cache-Key" default:"true" doc:"Whether answers have X-Cache-Key, in hexadecimal digits."`
}

// Validate checks the media types.
func (c *Config) Validate(r *schema.Report) {
	for i, s := range c.ContentType {
		if _, _, err := mime.ParseMediaType(s); err != nil {
			r.Expect("invalid value: "+s, "a media type such as application/json; charset=utf-8", "content_type", i)
		}
	}
	if c.StorageTTL != nil && !c.CacheControl && *c.StorageTTL < c.CacheTTL {
		r.Fail("cannot be less than cache_ttl", "storage_ttl")
	}
}
