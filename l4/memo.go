package l4

import "sync"

// Memo keeps what was worked out of a connection, for whoever worked it out, for
// as long as the connection lives. It holds little: what is put in last drives
// out what was put in first. The zero value is empty. Safe for concurrent use.
type Memo struct {
	mu   sync.Mutex
	kept [memoRoom]struct{ owner, value any }
	next int // of kept, that the next owner's value goes to
}

// memoRoom is for how many owners a Memo has room.
const memoRoom = 4

// Get returns what owner has put in last, nil if it is not there any more.
func (m *Memo) Get(owner any) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.kept {
		if m.kept[i].owner == owner {
			return m.kept[i].value
		}
	}
	return nil
}

// Put keeps value in place of what owner has put in before. value is not changed
// any more, and owner is a pointer.
func (m *Memo) Put(owner, value any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.next
	for i := range m.kept {
		if m.kept[i].owner == owner {
			at = i
		}
	}
	if at == m.next {
		m.next = (m.next + 1) % memoRoom
	}
	m.kept[at].owner, m.kept[at].value = owner, value
}
