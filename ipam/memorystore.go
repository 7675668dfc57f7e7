// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"

	"github.com/cnikit/cnikit/types"
)

// MemoryStore is a [Store] that ends with the process. The zero MemoryStore is
// empty and ready for use. It must not be copied.
type MemoryStore struct {
	once   sync.Once
	turn   chan struct{} // holds one value while the store is free
	mu     sync.Mutex    // guards the maps
	owners map[netip.Addr]types.Attachment
	addrs  map[types.Attachment]map[netip.Addr]bool
	cursor map[int]netip.Addr
}

func (s *MemoryStore) init() {
	s.once.Do(func() {
		s.turn = make(chan struct{}, 1)
		s.turn <- struct{}{}
		s.owners = map[netip.Addr]types.Attachment{}
		s.addrs = map[types.Attachment]map[netip.Addr]bool{}
		s.cursor = map[int]netip.Addr{}
	})
}

// View implements [Store].
func (s *MemoryStore) View(ctx context.Context, f func(Reader) error) error {
	s.init()
	return f(memoryTx{s})
}

// Update implements [Store].
func (s *MemoryStore) Update(ctx context.Context, f func(Tx) error) error {
	s.init()
	select {
	case <-s.turn:
	case <-ctx.Done():
		return types.NewError(types.ErrTryAgainLater, "waiting for the memory store", context.Cause(ctx))
	}
	defer func() { s.turn <- struct{}{} }()
	return f(memoryTx{s})
}

type memoryTx struct{ s *MemoryStore }

func (tx memoryTx) Owner(addr netip.Addr) (types.Attachment, error) {
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	owner, ok := tx.s.owners[addr]
	if !ok {
		return owner, fmt.Errorf("address %s: %w", addr, fs.ErrNotExist)
	}
	return owner, nil
}

func (tx memoryTx) Taken() (map[netip.Addr]bool, error) {
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	taken := make(map[netip.Addr]bool, len(tx.s.owners))
	for addr := range tx.s.owners {
		taken[addr] = true
	}
	return taken, nil
}

// Stale implements [Reader]: what is reserved here ends with the process.
func (tx memoryTx) Stale(netip.Addr) (bool, error) { return false, nil }

// Renew implements [Tx].
func (tx memoryTx) Renew(addr netip.Addr) error {
	_, err := tx.Owner(addr)
	return err
}

func (tx memoryTx) Cursor(set int) (netip.Addr, error) {
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	return tx.s.cursor[set], nil
}

func (tx memoryTx) Addrs(owner types.Attachment) ([]netip.Addr, error) {
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	return sorted(tx.s.addrs[owner]), nil
}

func (tx memoryTx) Reserve(addr netip.Addr, owner types.Attachment) error {
	if !addr.IsValid() || owner.ContainerID == "" {
		return errors.New("reserve: want an address and an owner")
	}
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	if _, ok := tx.s.owners[addr]; ok {
		return fmt.Errorf("reserve %s: %w", addr, fs.ErrExist)
	}
	tx.s.owners[addr] = owner
	if tx.s.addrs[owner] == nil {
		tx.s.addrs[owner] = map[netip.Addr]bool{}
	}
	tx.s.addrs[owner][addr] = true
	return nil
}

func (tx memoryTx) Release(addr netip.Addr, owner types.Attachment) error {
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	if have, ok := tx.s.owners[addr]; !ok || have != owner {
		return nil
	}
	delete(tx.s.owners, addr)
	delete(tx.s.addrs[owner], addr)
	if len(tx.s.addrs[owner]) == 0 {
		delete(tx.s.addrs, owner)
	}
	return nil
}

func (tx memoryTx) SetCursor(set int, addr netip.Addr) error {
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	tx.s.cursor[set] = addr
	return nil
}
