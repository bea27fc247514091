package compression

import (
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration. The plugin is Bulwark's own.
type Config struct {
	Algorithms   []string `json:"algorithms" default:"[zstd, br, gzip]" enum:"zstd,br,gzip" unique:"true" len_min:"1" doc:"Codings, the one that is chosen among equals first."`
	MinLength    int      `json:"min_length" default:"1024" min:"0" doc:"Length in bytes below which content is not worth compressing."`
	ContentTypes []string `json:"content_types" default:"[text/html, text/css, text/plain, text/xml, text/javascript, application/javascript, application/json, application/problem+json, application/ld+json, application/xml, application/xhtml+xml, application/rss+xml, application/atom+xml, application/wasm, image/svg+xml]" unique:"true" len_min:"1" doc:"Media types that are compressed, without parameters; type/* stands for all of a kind."`
	Levels       Levels   `json:"levels" doc:"How hard each algorithm tries."`
}

// Levels are the algorithms' levels; higher ones take more time and memory.
type Levels struct {
	Zstd int `json:"zstd" default:"1" min:"1" max:"3" doc:"Level of zstd: 1 fastest, 2 default, 3 better."`
	Br   int `json:"br" default:"4" min:"0" max:"6" doc:"Level of br (Brotli)."`
	Gzip int `json:"gzip" default:"5" min:"1" max:"9" doc:"Level of gzip."`
}

// Validate checks the media types.
func (c *Config) Validate(r *schema.Report) {
	for i, s := range c.ContentTypes {
		kind, subtype, ok := strings.Cut(s, "/")
		if !ok || kind == "" || subtype == "" || strings.ContainsAny(s, "; \t,") {
			r.Expect("invalid value: "+s, "a media type without parameters, such as text/html or text/*", "content_types", i)
		}
	}
}
