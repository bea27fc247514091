package sock

import "golang.org/x/sys/unix"

// Message is one message of ReceiveBatch and SendBatch: struct mmsghdr of
// recvmmsg(2). Its header points to where the address, the bytes and the
// control messages are.
type Message struct {
	Head unix.Msghdr
	Len  uint32 // bytes received or sent
}
