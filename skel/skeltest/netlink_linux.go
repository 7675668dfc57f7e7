// SPDX-License-Identifier: Apache-2.0

package skeltest

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"time"
)

// dump asks the kernel for a list over a netlink socket of its own, in the namespace of
// the calling thread, and calls f with the type and the body of each message. It is a
// way of its own, beside that of the library that the plugins under examination use.
//
// Source: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netlink.h
func dump(protocol int, typ uint16, header []byte, f func(typ uint16, body []byte)) error {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocol)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer syscall.Close(fd)
	limit := syscall.NsecToTimeval((10 * time.Second).Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		return fmt.Errorf("limit netlink socket: %w", err)
	}
	request := binary.NativeEndian.AppendUint32(nil, uint32(syscall.NLMSG_HDRLEN+len(header)))
	request = binary.NativeEndian.AppendUint16(request, typ)
	request = binary.NativeEndian.AppendUint16(request, syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	request = append(request, make([]byte, 8)...) // sequence and port, of which a socket with one request needs none
	if err := syscall.Sendto(fd, append(request, header...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err != nil {
			return fmt.Errorf("read from netlink: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("read from netlink: %w", err)
		}
		for _, m := range messages {
			switch m.Header.Type {
			case syscall.NLMSG_DONE:
				return nil
			case syscall.NLMSG_ERROR:
				if len(m.Data) >= 4 {
					return syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
				}
				return syscall.EPROTO
			}
			f(m.Header.Type, m.Data)
		}
	}
}

// An attribute is one of a netlink message.
type attribute struct {
	typ    uint16
	nested bool
	value  []byte
}

// attributes splits what follows the header of a message. What is not whole is left out.
func attributes(b []byte) []attribute {
	var all []attribute
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		typ := binary.NativeEndian.Uint16(b[2:])
		if n < 4 || n > len(b) {
			return all
		}
		const nested, mask = 1 << 15, 1<<14 - 1 // NLA_F_NESTED, NLA_TYPE_MASK
		all = append(all, attribute{typ & mask, typ&nested != 0, b[4:n]})
		b = b[min(len(b), (n+3)&^3):]
	}
	return all
}

// find returns the value of an attribute, and nil if it is not there.
func find(all []attribute, typ uint16) []byte {
	for _, a := range all {
		if a.typ == typ {
			return a.value
		}
	}
	return nil
}

// text returns a string attribute without its final zero.
func text(value []byte) string {
	for i, c := range value {
		if c == 0 {
			return string(value[:i])
		}
	}
	return string(value)
}
