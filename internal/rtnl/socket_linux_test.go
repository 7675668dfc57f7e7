// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnikit/cnikit/internal/nstest"
)

// interrupted calls wait, which sleeps in the kernel until finish is called, and interrupts it
// by a signal before that, which no other test sends. It returns the error of wait.
func interrupted(t *testing.T, by unix.Signal, wait func() error, finish func()) error {
	t.Helper()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, by)
	defer signal.Stop(signals)
	thread, result := make(chan int, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread <- unix.Gettid()
		result <- wait()
	}()
	tid := <-thread
	for end := time.Now().Add(time.Minute); !sleeps(t, tid); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the thread does not wait for anything")
		}
	}
	if err := unix.Tgkill(os.Getpid(), tid, by); err != nil {
		t.Fatal(err)
	}
	<-signals // the handler runs when the system call has ended
	finish()
	return <-result
}

// sleeps reports whether a thread sleeps in a system call that sends or receives.
func sleeps(t *testing.T, tid int) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
	if err != nil {
		nstest.Lacks(t, "/proc/PID/syscall", err)
	}
	number, _, _ := strings.Cut(string(text), " ") // or "running"
	return number == fmt.Sprint(unix.SYS_WRITE) || number == fmt.Sprint(unix.SYS_RECVFROM)
}

// A request that a signal kept from being sent is sent, once. The Go runtime sends signals of
// its own to threads that run for long.
func TestSocket_send_interrupted(t *testing.T) {
	t.Parallel()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(unix.Close(ends[0]), unix.Close(ends[1])); err != nil {
			t.Error(err)
		}
	})
	// With a limit the kernel does not go on by itself after a signal.
	limit := unix.NsecToTimeval(time.Minute.Nanoseconds())
	if err := unix.SetsockoptTimeval(ends[0], unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	filled := 0
	for err == nil {
		if err = unix.Sendto(ends[0], make([]byte, 1<<10), unix.MSG_DONTWAIT, nil); err == nil {
			filled++
		}
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	const request = "request"
	s := &socket{fd: ends[0]}
	err = interrupted(t, unix.SIGUSR1, func() error { return s.send([]byte(request)) }, func() {
		for range filled {
			if _, err := unix.Read(ends[1], make([]byte, 1<<10)); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatalf("send() = %v after a signal, want nil", err)
	}
	b := make([]byte, 1<<10)
	n, err := unix.Read(ends[1], b)
	if err != nil || string(b[:n]) != request {
		t.Errorf("%q was sent, %v; want %q", b[:n], err, request)
	}
	if n, _, err := unix.Recvfrom(ends[1], b, unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%q was sent, too, %v; want the request once", b[:max(n, 0)], err)
	}
}

// Who waits for an answer goes on after a signal.
func TestSocket_receive_interrupted(t *testing.T) {
	t.Parallel()
	var s *socket
	nstest.New(t).Do(t, func() {
		var err error
		if s, err = newSocket(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(s.close)
	if err := s.limit(time.Minute); err != nil {
		t.Fatal(err)
	}
	const seq = 7
	ask := binary.NativeEndian.AppendUint32(nil, unix.NLMSG_HDRLEN)
	ask = binary.NativeEndian.AppendUint16(ask, unix.NLMSG_NOOP)
	ask = binary.NativeEndian.AppendUint16(ask, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	ask = binary.NativeEndian.AppendUint32(ask, seq)
	ask = binary.NativeEndian.AppendUint32(ask, 0)
	var got []byte
	err := interrupted(t, unix.SIGUSR2, func() (err error) {
		got, err = s.receive(context.WithoutCancel(t.Context()))
		return err
	}, func() {
		if err := s.send(ask); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("receive() = %v after a signal, want nil", err)
	}
	if len(got) < unix.NLMSG_HDRLEN || nlHeader(got).Seq != seq || nlHeader(got).Type != unix.NLMSG_ERROR {
		t.Errorf("received %x, want the acknowledgement of request %d", got, seq)
	}
}
