// SPDX-License-Identifier: Apache-2.0

// Package skeltest tests CNI plugins: as a runtime that runs them, and by the rules of
// the specification.
//
// # A runtime in a test
//
// [Runtime] runs the plugins of a network configuration as a container runtime does,
// in-process or as executables, and records what each was sent and what it said.
//
//	runtime := &skeltest.Runtime{Plugins: []skel.Runner{plugin()}}
//	network, err := types.ParseNetwork([]byte(`{ … }`))
//	result, err := runtime.Add(ctx, network, skeltest.Attachment{ContainerID: "c1", Netns: path, IfName: "eth0"})
//
// Programs that play a runtime by hand use it too.
//
// # Namespaces without root
//
// With [Main] for its TestMain, a package's tests run in namespaces of their own, as an
// ordinary user too where the kernel allows it, and the test binary is its plugins when
// a runtime runs it. [New] gives a test a host and containers, which go with it.
// [Namespace.Snapshot] and [SnapshotDir] say what is there, and [Diff] what has
// changed. A [Delegate] plays another plugin, with answers of the test's choice.
//
//	func TestMain(m *testing.M) { skeltest.Main(m, plugin()) }
//
//	func TestAdd(t *testing.T) {
//		host, container := skeltest.New(t), skeltest.New(t)
//		before, _ := host.Snapshot()
//		runtime := &skeltest.Runtime{Path: []string{filepath.Dir(skeltest.Self(t, "myplugin"))}, Start: host.Start}
//		attachment := skeltest.Attachment{ContainerID: "c1", Netns: container.Path(), IfName: "eth0"}
//		if _, err := runtime.Add(t.Context(), network(t), attachment); err != nil {
//			t.Fatal(err)
//		}
//		if err := runtime.Del(t.Context(), network(t), attachment); err != nil {
//			t.Fatal(err)
//		}
//		if after, _ := host.Snapshot(); after != before {
//			t.Errorf("DEL leaves changes:\n%s", skeltest.Diff(before, after))
//		}
//	}
//
// # Faults
//
// A [Fault] kills a plugin at one of its system calls, or makes the call fail; [Faults]
// is that for each call in turn. What is left then, and what DEL and GC leave of that, a
// snapshot says.
//
// # The rules of the specification
//
// [Conformance] examines a plugin, in whatever language it is written, by every rule of
// CNI 0.1.0 to 1.1.0 that shows from outside, at each version that the plugin supports:
//
//	func TestConformance(t *testing.T) {
//		skeltest.Conformance(t, skeltest.Target{Executable: skeltest.Self(t, "myplugin")})
//	}
//
// What the plugin needs in its configuration stands in the [Profile] of the target, such
// as Config: json.RawMessage(`{"dir": "${DIR}"}`), with a directory for each case.
//
// A broken MUST of the text is a [Failure], a broken SHOULD or convention a [Warning],
// and what only the reference implementation or this module's checklist asks for gives
// [Advice]. Each rule is judged for itself: a plugin that breaks one is told about that
// one. [Examine] is the same for programs, and cnicheck, in the directory beside, for
// the command line.
//
// # Container runtimes
//
// A [Recorder] stands in for plugins and keeps what a runtime sends. [Recorder.Examine]
// judges a runtime that ran by itself, with the recorder in its network, by the rules of
// the specification that bind runtimes, and [ExamineRuntime] drives one through stories
// of its own at every version:
//
//	func TestMain(m *testing.M) { skeltest.Main(m) } // which plays the recorders
//
//	func TestRuntime(t *testing.T) {
//		report, err := skeltest.ExamineRuntime(t.Context(), func(s skeltest.RuntimeSetup) (skeltest.RuntimeDriver, error) {
//			return &myDriver{cni: myruntime.New(s.Path, s.ConfDir, s.CacheDir)}, nil
//		}, skeltest.ExamineOptions{})
//		if err != nil {
//			t.Fatal(err)
//		}
//		for _, o := range report.Broken(skeltest.Failure) {
//			t.Error(o.Rule.ID, o.Rule.Text, o.Why)
//		}
//	}
//
// "cnicheck runtime" puts recorders beside the plugins of a node, and judges what
// containerd, podman or another runtime sent them.
//
// # Plugins that misbehave
//
// A plugin that hangs, floods its output or leaves processes behind is ended, and each
// case has namespaces and a directory of its own. What a plugin does elsewhere in the
// file system is its own matter, unless cnicheck runs it.
package skeltest
