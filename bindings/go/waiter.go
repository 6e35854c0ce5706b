package fathom

import (
	"os"
	"sync"
	"syscall"

	"fathom.dev/go/internal/sys"
)

// A waiter learns that its stream has an event. All waiters share one goroutine, which sleeps in
// the Go runtime's own poller, so that a waiting stream costs a descriptor and no thread.
type waiter struct {
	ready      chan struct{} // Holds a value if an event may have come since the last poll.
	descriptor int
	started    bool
}

// start makes ready receive. The consumer of the stream calls it.
func (w *waiter) start(stream sys.Stream) error {
	if w.started {
		return nil
	}
	p, err := sharedPoller()
	if err != nil {
		return err
	}
	var descriptor int64
	err = quick.try(func(failure *sys.Error) int32 {
		return sys.StreamNotifyHandle(stream, &descriptor, failure)
	})
	if err != nil {
		return err
	}
	w.descriptor = int(descriptor)
	err = p.add(w)
	w.started = err == nil
	return err
}

// stop ends what start began, before the stream and its descriptor go.
func (w *waiter) stop() {
	if !w.started {
		return
	}
	if p, err := sharedPoller(); err == nil {
		p.remove(w)
	}
}

// A poller watches the descriptors of streams with an epoll instance.
type poller struct {
	epoll int
	mu    sync.Mutex
	// By descriptor. An event may still arrive for a stream whose number another one took over;
	// then that one looks in vain once.
	waiters map[int]*waiter
}

// sharedPoller lives as long as the process, like the runtime's own, because streams may outlive
// the engine that a caller holds.
var sharedPoller = sync.OnceValues(func() (*poller, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// A file that does not block is watched by the runtime, an epoll instance like any other.
	if err := syscall.SetNonblock(epoll, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(epoll), "fathom streams")
	connection, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &poller{epoll: epoll, waiters: make(map[int]*waiter)}
	go connection.Read(p.run)
	return p, nil
})

func (p *poller) add(w *waiter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Edge-triggered: one report for each event of the stream, and one now if it has some.
	const edge = 1 << 31 // syscall.EPOLLET, which is negative.
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | edge, Fd: int32(w.descriptor)}
	err := syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, w.descriptor, &event)
	if err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	p.waiters[w.descriptor] = w
	return nil
}

func (p *poller) remove(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiters, w.descriptor)
	syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_DEL, w.descriptor, nil)
}

// run tells the waiters whose streams have events. It returns false to be called again when there
// are more.
func (p *poller) run(uintptr) (done bool) {
	var events [128]syscall.EpollEvent
	for {
		n, err := syscall.EpollWait(p.epoll, events[:], 0)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 {
			return false
		}
		p.mu.Lock()
		for _, event := range events[:n] {
			if w := p.waiters[int(event.Fd)]; w != nil {
				select {
				case w.ready <- struct{}{}:
				default: // It knows.
				}
			}
		}
		p.mu.Unlock()
	}
}
