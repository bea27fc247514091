package edge

// Users returns how often a snapshot is held.
func (s *Snapshot) Users() int64 { return s.users.Load() }
