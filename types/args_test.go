// SPDX-License-Identifier: Apache-2.0

package types_test

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/cnikit/cnikit/types"
)

func TestParseArgs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want types.Args
	}{
		// ARG-001
		{"empty", "", types.Args{}},
		{"one", "A=b", types.Args{"A": "b"}},
		{"three", "A=b;C=d;E=f", types.Args{"A": "b", "C": "d", "E": "f"}},
		// ARG-002
		{"case of keys", "ip=a;IP=b", types.Args{"ip": "a", "IP": "b"}},
		// ARG-006
		{"equals in a value", "IgnoreUnknown=1;A=b=c;D=", types.Args{"IgnoreUnknown": "1", "A": "b=c", "D": ""}},
		// ARG-007
		{"empty pairs", ";IgnoreUnknown=1;;A=b;", types.Args{"IgnoreUnknown": "1", "A": "b"}},
		{"only empty pairs", ";;;", types.Args{}},
		// ARG-009
		{"twice", "IP=10.0.0.5/24;IP=10.0.0.6/24", types.Args{"IP": "10.0.0.6/24"}},
		// ARG-011
		{"Kubernetes", "K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=web-0.x;A=a:/,_ \xff\n", types.Args{"K8S_POD_NAMESPACE": "kube-system", "K8S_POD_NAME": "web-0.x", "A": "a:/,_ \xff\n"}},
		// ARG-005: the last one counts.
		{"IgnoreUnknown twice", "IgnoreUnknown=yes;IgnoreUnknown=FALSE", types.Args{"IgnoreUnknown": "FALSE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := types.ParseArgs(tt.in)
			if err != nil || !maps.Equal(got, tt.want) {
				t.Errorf("ParseArgs(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
			}
			again, err := types.ParseArgs(got.String())
			if err != nil || !maps.Equal(again, tt.want) {
				t.Errorf("ParseArgs(%q) = %q, %v, want %q", got.String(), again, err, tt.want)
			}
		})
	}
	// ARG-010: the order is that of the keys, whatever it was.
	a, errA := types.ParseArgs("B=1;A=2")
	b, errB := types.ParseArgs("A=2;B=1")
	if errA != nil || errB != nil || a.String() != "A=2;B=1" || a.String() != b.String() {
		t.Errorf("String() = %q and %q, want A=2;B=1", a, b)
	}
}

// ARG-005, ARG-008
func TestParseArgs_Errors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"IP":               `CNI_ARGS: "IP" is no pair`,
		"A=b;IP":           `CNI_ARGS: "IP" is no pair`,
		"=x":               `CNI_ARGS: "=x" is no pair`,
		"=":                `CNI_ARGS: "=" is no pair`,
		"a\nb":             `CNI_ARGS: "a\nb" is no pair`,
		"IgnoreUnknown=":   `CNI_ARGS: IgnoreUnknown: "" is not valid; want 1, 0, true or false`,
		"IgnoreUnknown=ye": `CNI_ARGS: IgnoreUnknown: "ye" is not valid`,
		" ":                `CNI_ARGS: " " is no pair`,
	} {
		args, err := types.ParseArgs(in)
		if args != nil {
			t.Errorf("ParseArgs(%q) = %q, want nil", in, args)
		}
		wantError(t, "ParseArgs", err, types.ErrInvalidEnvironmentVariables, want)
	}
	if _, err := types.ParseArgs(strings.Repeat("x", 1<<20)); err == nil || len(err.Error()) > 500 {
		t.Errorf("ParseArgs of 1 MiB = %d bytes of error, want few", len(err.Error()))
	}
}

type embeddedArgs struct {
	E string
	N uint8
}

// A podArgs has every kind of field.
type podArgs struct {
	types.K8sArgs
	embeddedArgs
	IP     types.IPRequest
	MAC    types.MAC  `args:"MAC"`
	Addr   netip.Addr `args:"ADDR"`
	On     bool       `args:"ON"`
	Int    int8       `args:"INT"`
	Uint   uint16     `args:"UINT"`
	hidden string
}

func TestArgs_Decode(t *testing.T) {
	t.Parallel()
	args, err := types.ParseArgs("IgnoreUnknown=TRUE;FOO=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=n;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=c;E=e;IP=10.0.0.5/24;MAC=02:00:00:00:00:01;ADDR=::1;ON=1;INT=-128;UINT=65535;hidden=x")
	if err != nil {
		t.Fatal(err)
	}
	got := podArgs{hidden: "kept"}
	if err := args.Decode(&got); err != nil {
		t.Fatalf("Decode = %v, want nil", err)
	}
	want := podArgs{K8sArgs: types.K8sArgs{PodNamespace: "ns", PodName: "n", PodUID: "u", PodInfraContainerID: "c"}, embeddedArgs: embeddedArgs{E: "e"},
		IP: types.IPRequest{Addr: addr("10.0.0.5"), Bits: 24}, MAC: types.MAC{2, 0, 0, 0, 0, 1}, Addr: addr("::1"), On: true, Int: -128, Uint: 65535, hidden: "kept"}
	if got != want {
		t.Errorf("Decode = %+v, want %+v", got, want)
	}
	// A field without its key stays.
	if err := (types.Args{}).Decode(&got); err != nil || got != want {
		t.Errorf("Decode of nothing = %v, left %+v, want it as it was", err, got)
	}
}

func TestArgs_Decode_Errors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		// ARG-003
		"FOO=1;BAR=2":             `CNI_ARGS: unknown key "BAR", "FOO"; IgnoreUnknown=1 permits it`,
		"FOO=1;IgnoreUnknown=0":   `CNI_ARGS: unknown key "FOO"`,
		"ip=10.0.0.5":             `CNI_ARGS: unknown key "ip"`, // ARG-002
		"hidden=1":                `CNI_ARGS: unknown key "hidden"`,
		"K8sArgs=1":               `CNI_ARGS: unknown key "K8sArgs"`,
		"IP=10.0.0":               `CNI_ARGS: IP: "10.0.0" is not an address`,
		"N=x":                     `CNI_ARGS: N: `,
		"ON=yes":                  `CNI_ARGS: ON: "yes" is not valid`,
		"INT=128":                 `CNI_ARGS: INT: `,
		"UINT=-1":                 `CNI_ARGS: UINT: `,
		"UINT=x;IgnoreUnknown=1":  `CNI_ARGS: UINT: `,
		"MAC=zz;IgnoreUnknown=on": `IgnoreUnknown`,
	} {
		args, err := types.ParseArgs(in)
		if err == nil {
			err = args.Decode(&podArgs{})
		}
		wantError(t, "Decode("+in+")", err, types.ErrInvalidEnvironmentVariables, want)
	}
	// ARG-004: at any position.
	for _, in := range []string{"FOO=1;IgnoreUnknown=1", "IgnoreUnknown=TRUE;FOO=1"} {
		args, err := types.ParseArgs(in)
		if err == nil {
			err = args.Decode(&podArgs{})
		}
		if err != nil {
			t.Errorf("Decode(%s) = %v, want nil", in, err)
		}
	}
	// What is the caller's mistake is an error and no panic.
	var pointer *podArgs
	for _, v := range []any{nil, podArgs{}, pointer, new(int), &struct{ C chan int }{}} {
		if err := (types.Args{"C": "x"}).Decode(v); err == nil {
			t.Errorf("Decode into %T = nil, want an error", v)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	for _, s := range []string{"", "A=b", "IgnoreUnknown=1;A=b=c;D=", ";;A=b;", "=x", "IP", "K8S_POD_NAME=../../x\n\x00", "IP=10.0.0.5/24;MAC=02:00:00:00:00:01;ON=1;INT=-1;UINT=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		args, err := types.ParseArgs(s)
		if err != nil {
			if args != nil || !errors.Is(err, types.ErrInvalidEnvironmentVariables) || !strings.Contains(err.Error(), "CNI_ARGS") {
				t.Errorf("ParseArgs(%q) = %q, %v, want code 4 naming CNI_ARGS", s, args, err)
			}
			return
		}
		again, err := types.ParseArgs(args.String())
		if err != nil || !maps.Equal(again, args) {
			t.Errorf("ParseArgs(%q) = %q, %v, want %q", args.String(), again, err, args)
		}
		if err := args.Decode(&podArgs{}); err != nil && !errors.Is(err, types.ErrInvalidEnvironmentVariables) {
			t.Errorf("Decode(%q) = %v, want code 4", s, err)
		}
	})
}
