package crs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// patience bounds one stage. Nothing but a hanging server uses it up.
const patience = 60 * time.Second

// largestAnswer bounds what is kept of a response's content.
const largestAnswer = 1 << 20

// Sent is a stage that was sent and what came back.
type Sent struct {
	Test   string
	Number int // Of the stage in its test, from 0.
	Stage  *Stage
	Client netip.Addr // It was sent from here, and nothing else was.

	Status   int // 0: there was no response in HTTP.
	Response []byte
	Err      error // Why there was none.
}

// Runner sends the stages of a suite to a listener.
type Runner struct {
	Address string // Of the listener, on an address of 127.0.0.0/8.
	Workers int    // Stages under way at once.
}

// Run sends every stage, those of one test one after the other, and returns them
// in the suite's order.
func (r *Runner) Run(ctx context.Context, tests []Test) []Sent {
	first := make([]int, len(tests)) // Of each test's stages in the result.
	var all []Sent
	for i := range tests {
		first[i] = len(all)
		for k := range tests[i].Stages {
			all = append(all, Sent{Test: tests[i].ID, Number: k, Stage: &tests[i].Stages[k], Client: client(len(all))})
		}
	}
	next := make(chan int)
	var workers sync.WaitGroup
	for range r.Workers {
		workers.Go(func() {
			for i := range next {
				for k := range tests[i].Stages {
					r.send(ctx, &all[first[i]+k])
				}
			}
		})
	}
	for i := range tests {
		next <- i
	}
	close(next)
	workers.Wait()
	return all
}

// client returns the address of a stage: 127.1.0.1 and those that follow.
func client(n int) netip.Addr {
	n += 1<<16 + 1
	return netip.AddrFrom4([4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)})
}

// send sends one stage and reads the response.
func (r *Runner) send(ctx context.Context, s *Sent) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: s.Client.AsSlice()}}
	c, err := d.DialContext(ctx, "tcp", r.Address)
	if err != nil {
		s.Err = fmt.Errorf("connecting: %w", err)
		return
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline) // a closed connection says so when it is read
	request := s.Stage.Input.Bytes()
	if _, err := c.Write(request); err != nil {
		s.Err = fmt.Errorf("sending: %w", err)
		return
	}
	if !whole(request) {
		// So the server need not wait for what will never come.
		_ = c.(*net.TCPConn).CloseWrite()
	}
	s.read(c, request)
}

// read reads the response to a request.
func (s *Sent) read(c net.Conn, request []byte) {
	method, _, _ := strings.Cut(string(request), " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		s.Err = fmt.Errorf("reading the response: %w", err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if err != nil {
		s.Err = fmt.Errorf("reading the response's content: %w", err)
		return
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\r\n", resp.Proto, resp.Status)
	_ = resp.Header.Write(&b) // to memory
	b.WriteString("\r\n")
	b.Write(body)
	s.Status, s.Response = resp.StatusCode, b.Bytes()
}
