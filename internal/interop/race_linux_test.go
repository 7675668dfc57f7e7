// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cnikit/cnikit/internal/campaign"
)

// Both implementations of the store take turns, in any order and at any time, on one
// directory, and are killed now and then: no address is handed out while somebody has it, by a
// ledger kept from the results alone, and nothing is left at the end. DLG-032, LIFE-006
//
//	go test . -run TestRace -v -args -for 10m -seed 7
func TestRace_stores(t *testing.T) {
	t.Parallel()
	const racers = 32
	s := &storeRace{dir: t.TempDir(), held: map[string]string{}}
	ctx, _ := campaign.Begin(t, 3*time.Second)
	var all sync.WaitGroup
	for i := range racers {
		lots := campaign.Lots(uint64(i))
		all.Go(func() {
			if err := s.run(ctx, fmt.Sprint("c", i), lots); err != nil {
				t.Errorf("racer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	for _, p := range s.problems {
		t.Error(p)
	}
	t.Logf("%d ADD, %d DEL, %d killed", s.adds, s.dels, s.killed)
	// With nothing else running, each container is detached by the other implementation once
	// more, which succeeds, and what a crash left of a reservation goes.
	for i := range racers {
		if _, err := s.execute(bin, "DEL", fmt.Sprint("c", i), 0); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, "race"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" && !strings.HasPrefix(e.Name(), "last_reserved_ip.") {
			t.Errorf("left: %s", e.Name())
		}
	}
}

// A storeRace is a directory with the racers' ledger.
type storeRace struct {
	dir string

	mu                 sync.Mutex
	held               map[string]string // the container that has an address
	problems           []string
	adds, dels, killed int
}

// run adds and deletes one container until the time is over, and deletes it then.
func (s *storeRace) run(ctx context.Context, id string, lots *rand.Rand) error {
	attached := false
	for ctx.Err() == nil || attached {
		dir := bin
		if lots.IntN(2) == 0 {
			dir = filepath.Join(bin, "reference")
		}
		kill := time.Duration(0)
		if lots.IntN(4) == 0 {
			kill = time.Duration(1 + lots.Int64N(int64(40*time.Millisecond)))
		}
		command := "ADD"
		if attached {
			command = "DEL"
			s.release(id)
		}
		out, err := s.execute(dir, command, id, kill)
		switch {
		case errors.Is(err, errKilled):
			attached = true // as a runtime has to assume
		case err != nil:
			return fmt.Errorf("%s by %s: %w", command, dir, err)
		case command == "ADD":
			attached = true
			if err := s.grant(id, out); err != nil {
				return err
			}
		default:
			attached = false
		}
	}
	return nil
}

func (s *storeRace) release(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for address, holder := range s.held {
		if holder == id {
			delete(s.held, address)
		}
	}
}

func (s *storeRace) grant(id string, out []byte) error {
	var result struct{ IPs []struct{ Address string } }
	if err := json.Unmarshal(out, &result); err != nil || len(result.IPs) != 2 {
		return fmt.Errorf("result %q: %w", out, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ip := range result.IPs {
		if other := s.held[ip.Address]; other != "" {
			s.problems = append(s.problems, fmt.Sprintf("%s was handed out to %s while %s had it", ip.Address, id, other))
		}
		s.held[ip.Address] = id
	}
	return nil
}

// errKilled is the error of an execution that was killed before it ended.
var errKilled = errors.New("killed")

// execute runs host-local once, and kills it after some time unless that is zero.
func (s *storeRace) execute(dir, command, id string, kill time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "host-local"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+id, "CNI_IFNAME=eth0", "CNI_NETNS=/proc/1/ns/none", "CNI_PATH="+dir)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion":"1.0.0","name":"race","type":"bridge","ipam":{"type":"host-local","dataDir":%q,"ranges":[
		[{"subnet":"10.89.0.0/24","rangeStart":"10.89.0.10","rangeEnd":"10.89.0.89"}],[{"subnet":"2001:db8:89::/64","rangeStart":"2001:db8:89::10","rangeEnd":"2001:db8:89::5f"}]]}}`, s.dir))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if kill > 0 {
		timer := time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err := cmd.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && kill > 0 && ctx.Err() == nil && cmd.ProcessState.ExitCode() < 0:
		s.killed++
		return nil, errKilled
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w: %s%s", command, id, err, stdout.Bytes(), stderr.Bytes())
	case command == "ADD":
		s.adds++
	default:
		s.dels++
	}
	return stdout.Bytes(), nil
}
