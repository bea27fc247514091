package l7

import (
	"io"
	"net/http"
)

// BodyFilter is what the content of one answer passes through on its way to the
// client. It belongs to the exchange's goroutine. After an error the answer is
// broken off.
type BodyFilter interface {
	// Write takes the next piece of content, which is valid until it returns,
	// and writes what becomes of it to next.
	Write(next io.Writer, p []byte) error
	// Flush passes on what can be passed on now.
	Flush(next io.Writer) error
	// Close ends complete content: it writes what is left. Nothing is called
	// after it.
	Close(next io.Writer) error
	// Abort tells that the content was broken off: nothing can be written any
	// more. Nothing is called after it.
	Abort()
}

// filtered is the wire of an answer whose content passes through filters.
type filtered struct {
	Wire
	stages []filterStage // the upstream's bytes go to the first
	sent   int64         // content given to the wire
	open   bool          // the filters were neither closed nor aborted
}

// filterStage is a filter and where it writes.
type filterStage struct {
	filter BodyFilter
	next   io.Writer
}

// Write passes p through the stage's filter.
func (s *filterStage) Write(p []byte) (int, error) {
	if err := s.filter.Write(s.next, p); err != nil {
		return 0, asError(err)
	}
	return len(p), nil
}

// toWire is where the last filter writes.
type toWire struct{ f *filtered }

func (w toWire) Write(p []byte) (int, error) {
	n, err := w.f.Wire.Write(p)
	w.f.sent += int64(n)
	return n, err
}

// filterBody asks the plan's ResponseBody hooks what the answer's content is to
// pass through, and puts it in front of the wire.
func (x *Exchange) filterBody() {
	if x.Req.Method == http.MethodHead || bodiless(x.Resp.Status) || x.Resp.Size == 0 {
		return
	}
	var f *filtered
	for i := range x.plan.ResponseBody {
		filter := x.plan.ResponseBody[i].Hook.ResponseBody(x)
		if filter == nil {
			continue
		}
		if f == nil {
			f = &filtered{Wire: x.Wire, open: true}
		}
		f.stages = append(f.stages, filterStage{filter: filter})
	}
	if f == nil {
		return
	}
	for i := range f.stages {
		f.stages[i].next = toWire{f}
		if i+1 < len(f.stages) {
			f.stages[i].next = &f.stages[i+1]
		}
	}
	x.Wire, x.filtered = f, f
}

// Write passes content through the filters.
func (f *filtered) Write(p []byte) (int, error) { return f.stages[0].Write(p) }

// Flush lets every filter pass on what it can, and sends it.
func (f *filtered) Flush() error {
	for i := range f.stages {
		if err := f.stages[i].filter.Flush(f.stages[i].next); err != nil {
			return asError(err)
		}
	}
	return f.Wire.Flush()
}

// Finish closes every filter and ends the answer.
func (f *filtered) Finish(trailer *Header) error {
	for i, stages := 0, f.stages; i < len(stages); i++ {
		f.stages = stages[i+1:] // this one is told its end, whatever comes of it
		if err := stages[i].filter.Close(stages[i].next); err != nil {
			return asError(err)
		}
	}
	f.open = false
	return f.Wire.Finish(trailer)
}

// end tells filters that saw no end of the content that it was broken off.
func (f *filtered) end() {
	if !f.open {
		return
	}
	f.open = false
	for i := range f.stages {
		f.stages[i].filter.Abort()
	}
}
