// SPDX-License-Identifier: Apache-2.0

package campaign_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A plugin that is killed takes its delegate with it: nothing is reserved behind the DEL that
// comes next. LIFE-013
func TestKilled_delegate(t *testing.T) {
	t.Parallel()
	n := newRaceNode(t, raceNetwork)
	pidFile := filepath.Join(n.DataDir, "pid")
	n.Script(t, "slow", "cat >/dev/null\necho $$ >"+pidFile+".new\nmv "+pidFile+".new "+pidFile+"\nexec sleep 1000\n")
	c := n.Container(t, "c1")
	cmd := exec.Command(filepath.Join(n.Runtime.Path[0], "bridge"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_PATH="+n.Runtime.Path[0], "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS="+c.Path())
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br0","ipam":{"type":"slow"}}`)
	if err := n.Host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	pid := ""
	for begin := time.Now(); pid == ""; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(pidFile)
		if pid = strings.TrimSpace(string(text)); err != nil && time.Since(begin) > patience {
			t.Fatal("the delegate was not asked")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err != nil || strings.Contains(string(stat), ") Z ") { // a zombie is somebody else's to wait for
			return
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("the delegate, process %s, goes on", pid)
		}
	}
}
