// SPDX-License-Identifier: Apache-2.0

package skeltest_test

import (
	"os/exec"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cnikit/cnikit/internal/nstest"
	"github.com/cnikit/cnikit/skel/skeltest"
)

// command runs a program in a namespace, and skips the test where there is no such
// program.
func command(t *testing.T, n *skeltest.Namespace, words ...string) {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	if cmd.Err != nil {
		nstest.Lacks(t, "program "+words[0], cmd.Err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v: %s", words, err, stderr.String())
	}
}

// Each thing that a program adds shows in a snapshot, in one line, and nothing else
// does.
func TestNamespace_Snapshot(t *testing.T) {
	t.Parallel()
	const veth = "ip link add a0 type veth peer name a1"
	tests := []struct {
		name, first, command string
		want                 []string // all lines of the difference that begin with the word of the first
	}{
		{"link", "", veth, []string{"+link a0 kind=veth up=false", "+link a1 kind=veth up=false"}},
		{"link up", veth, "ip link set a0 up", []string{"-link a0", "+link a0 kind=veth up=true"}},
		{"no link", veth, "ip link del a0", []string{"-link a0", "-link a1"}},
		{"mtu", veth, "ip link set a0 mtu 1400", []string{"-link a0", "+link a0"}},
		{"alias", veth, "ip link set a0 alias pod", []string{"-link a0", `+link a0 kind=veth up=false mac=`}},
		{"master", veth + "; ip link add b0 type bridge", "ip link set a0 master b0", []string{"-link a0", "+link a0"}},
		{"address", veth, "ip addr add 10.0.0.1/24 dev a0", []string{"+address 10.0.0.1/24 dev a0"}},
		{"route", veth + "; ip link set a0 up; ip addr add 10.0.0.1/24 dev a0", "ip route add 10.9.0.0/16 via 10.0.0.7 dev a0 metric 5",
			[]string{"+route 10.9.0.0/16 via 10.0.0.7 dev a0 table 254 metric 5"}},
		{"rule", "", "ip rule add from 10.0.0.1 table 77", []string{"+rule "}},
		{"neighbour", veth, "ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev a0 nud permanent", []string{"+neighbour 10.0.0.9 02:00:00:00:00:09 dev a0"}},
		{"qdisc", veth, "tc qdisc add dev a0 root tbf rate 8mbit burst 10kb latency 25ms", []string{"+qdisc tbf dev a0 parent ffff:ffff rate 1000000 bytes/s"}},
		{"sysctl of a link", veth, "sh -c 'echo 1 >/proc/sys/net/ipv4/conf/a0/route_localnet'", []string{"+sysctl ipv4/conf/a0/route_localnet=1"}},
		{"sysctl", "", "sh -c 'echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind'", []string{"-sysctl ipv4/ip_nonlocal_bind=0", "+sysctl ipv4/ip_nonlocal_bind=1"}},
		{"nftables", "", "nft add table ip cnitest", []string{"+nft table ip cnitest"}},
		{"iptables-legacy", "", "iptables-legacy -t nat -A POSTROUTING -s 10.0.0.2 -j MASQUERADE",
			[]string{"+iptables-legacy nat: -A POSTROUTING -s 10.0.0.2/32 -j MASQUERADE"}},
		{"iptables-legacy, looked at", "", "iptables-legacy -t nat -L", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := skeltest.New(t)
			for first := range strings.SplitSeq(tt.first, "; ") {
				if first != "" {
					command(t, n, strings.Fields(first)...)
				}
			}
			before := snapshot(t, n)
			words := strings.Fields(tt.command)
			if words[0] == "sh" {
				words = []string{"sh", "-c", strings.Trim(strings.TrimPrefix(tt.command, "sh -c "), "'")}
			}
			command(t, n, words...)
			diff := skeltest.Diff(before, snapshot(t, n))
			lines := strings.Split(strings.TrimSpace(diff), "\n")
			if diff == "" {
				lines = nil
			}
			if tt.name == "link up" { // the kernel gives the link what it has then
				lines = lines[:2]
			}
			if len(lines) != len(tt.want) {
				t.Fatalf("after %q the difference is\n%swant %d lines, %q", tt.command, diff, len(tt.want), tt.want)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("after %q line %d of the difference is %q, want %q", tt.command, i, lines[i], want)
				}
			}
		})
	}
}

func TestNamespace_Snapshot_twice(t *testing.T) {
	t.Parallel()
	n := skeltest.New(t)
	if diff := skeltest.Diff(snapshot(t, n), snapshot(t, n)); diff != "" {
		t.Errorf("two snapshots of the same state differ:\n%s", diff)
	}
}

// What a snapshot says of a rule that iptables made is not up to other rules, and it tells
// all of it.
func TestNamespace_Snapshot_compat(t *testing.T) {
	t.Parallel()
	n := skeltest.New(t)
	const first, second = "-t nat -A POSTROUTING -m mark --mark 0x1/0x1 -j MASQUERADE", "-t nat -A POSTROUTING -m mark --mark 0x2/0x2 -j MASQUERADE"
	command(t, n, strings.Fields("iptables-nft "+first)...)
	command(t, n, strings.Fields("ip6tables-nft "+second)...)
	both := snapshot(t, n)
	command(t, n, strings.Fields("iptables-nft "+strings.Replace(first, "-A", "-D", 1))...)
	const gone = "-nft table ip nat: -A POSTROUTING -m mark --mark 0x1/0x1 -j MASQUERADE\n"
	if diff := skeltest.Diff(both, snapshot(t, n)); diff != gone {
		t.Errorf("without the rule for IPv4 the difference is\n%swant\n%s", diff, gone)
	}
	command(t, n, strings.Fields("iptables-nft -t nat -A POSTROUTING -m comment --comment one -j MASQUERADE")...)
	one := snapshot(t, n)
	command(t, n, strings.Fields("iptables-nft -t nat -R POSTROUTING 1 -m comment --comment two -j MASQUERADE")...)
	const other = "-nft table ip nat: -A POSTROUTING -m comment --comment one -j MASQUERADE\n+nft table ip nat: -A POSTROUTING -m comment --comment two -j MASQUERADE\n"
	if diff := skeltest.Diff(one, snapshot(t, n)); diff != other {
		t.Errorf("with another comment the difference is\n%swant\n%s", diff, other)
	}
}

// What the kernel says of nftables has a line for each thing that the program nft was
// told to make, without it.
func TestNamespace_RawNftables(t *testing.T) {
	t.Parallel()
	n := skeltest.New(t)
	if got, err := n.RawNftables(); err != nil || got != "" {
		t.Errorf("RawNftables() of a fresh namespace = %q, %v", got, err)
	}
	for _, line := range []string{
		"add table inet t",
		"add chain inet t c { type nat hook postrouting priority 100 ; }",
		"add chain inet t d",
		"add set inet t s { type ipv4_addr ; }",
		`add element inet t s { 10.1.2.3 comment "one" }`,
		"add map inet t m { type inet_service : ipv4_addr ; }",
		"add element inet t m { 80 : 10.1.2.4 }",
		`add rule inet t c ip saddr @s counter masquerade comment "two"`,
		"add table ip6 u",
	} {
		command(t, n, append([]string{"nft"}, strings.Fields(line)...)...)
	}
	got, err := n.RawNftables()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"nft table inet t\n", "nft table ip6 u", "nft table inet t chain c: type nat hook 4 priority 100 policy 1\n", "nft table inet t chain d\n",
		"nft table inet t set s\n", `set s: 0a010203 comment "one"`, "nft table inet t set m: 0050 : ", "0a010204", " counter masq", `comment "two"`, "chain c: ",
	} {
		if !strings.Contains(got+"\n", want) {
			t.Errorf("RawNftables() has no %q:\n%s", want, got)
		}
	}
	if again, err := n.RawNftables(); err != nil || again != got {
		t.Errorf("RawNftables() differs the second time: %v\n%s", err, skeltest.Diff(skeltest.Snapshot(got), skeltest.Snapshot(again)))
	}
}

func TestLegacyLines(t *testing.T) {
	t.Parallel()
	const text = `# Generated by iptables-save v1.8.9 on Sat Nov 21 17:00:00 2026
*nat
:PREROUTING ACCEPT [12:3456]
:OUTPUT DROP [0:0]
:CNI-x - [0:0]
-A POSTROUTING -s 10.0.0.2/32 -m comment --comment "a b" -j CNI-x
COMMIT
`
	want := []string{"t: chain OUTPUT DROP", "t: chain CNI-x", `t: -A POSTROUTING -s 10.0.0.2/32 -m comment --comment "a b" -j CNI-x`}
	if diff := gocmp.Diff(want, skeltest.LegacyLines("t", text)); diff != "" {
		t.Errorf("legacyLines (-want +got):\n%s", diff)
	}
}
