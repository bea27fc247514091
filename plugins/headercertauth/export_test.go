package headercertauth

// What tests see of it.
const (
	MaxCertificates = maxCertificates
	MaxField        = maxField
)

// Parse is parse.
var Parse = parse
