// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// iptRule is a rule as "iptables -S" prints it: "-A CHAIN …".
type iptRule string

// iptTable is what "iptables -t nat -S" prints.
type iptTable struct {
	chains []string
	rules  []iptRule
}

// parseTable reads what "iptables -S" prints.
func parseTable(text string) iptTable {
	var t iptTable
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "-N", "-P":
			name, _, _ := strings.Cut(rest, " ")
			t.chains = append(t.chains, name)
		case "-A":
			t.rules = append(t.rules, iptRule(line))
		}
	}
	return t
}

// has reports whether there is a chain.
func (t iptTable) has(chain string) bool { return slices.Contains(t.chains, chain) }

// in returns the rules of a chain.
func (t iptTable) in(chain string) []iptRule {
	var rules []iptRule
	for _, r := range t.rules {
		if r.chain() == chain {
			rules = append(rules, r)
		}
	}
	return rules
}

// chain returns the chain that r is in.
func (r iptRule) chain() string { return r.option("-A") }

// target returns where r leads.
func (r iptRule) target() string {
	if to := r.option("-j"); to != "" {
		return to
	}
	return r.option("-g")
}

// option returns the word after an option of r, without quotes, and "" if there is none.
func (r iptRule) option(name string) string {
	words := splitWords(string(r))
	if i := slices.Index(words, name); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// splitWords splits a line of "iptables -S", where a word may be in double quotes and a
// backslash takes the meaning of the next character.
func splitWords(line string) []string {
	var words []string
	var word strings.Builder
	quoted, escaped, begun := false, false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped, begun = true, true
		case r == '"':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// deletion returns the line that removes r.
func (r iptRule) deletion() string { return "-D" + strings.TrimPrefix(string(r), "-A") }

// errWord means that a word of the configuration cannot be in a rule.
var errWord = errors.New("not printable, or holds a quote or backslash")

// line makes a line for iptables-restore of words, some of which come from a
// configuration: none can end the line or the word (C-45).
func line(words ...string) (string, error) {
	quoted := make([]string, len(words))
	for i, w := range words {
		if strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' || r == '\'' }) {
			return "", fmt.Errorf("word %q: %w", w, errWord)
		}
		quoted[i] = w
		if w == "" || strings.Contains(w, " ") {
			quoted[i] = `"` + w + `"`
		}
	}
	return strings.Join(quoted, " "), nil
}

// iptProgram returns the name of a program of iptables for a family.
func iptProgram(f family, suffix string) string {
	if f.proto == unix.NFPROTO_IPV6 {
		return "ip6tables" + suffix
	}
	return "iptables" + suffix
}

// run runs a program in the network namespace of the firewall, and returns what it
// prints. It waits for the lock that all iptables share, with a bound.
func (h *Host) run(ctx context.Context, stdin, program string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	err := h.inside(func() error {
		cmd := exec.CommandContext(ctx, program, append([]string{"-w", strconv.Itoa(h.lockSeconds())}, args...)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
		// If this process is killed, its program must not go on behind the DEL that comes next.
		// The signal comes when the thread ends, so it is kept. What ends with ctx is all that
		// the program started: it may be a script in front of another one, which would go on
		// and keep the output open.
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return cmd.Run()
	})
	if err != nil {
		return "", h.lockHeld(fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(stderr.Bytes())))
	}
	return stdout.String(), nil
}

// lockSeconds is how long iptables is to wait for its lock. The front end of nftables
// has none, and the kernel lets its transactions wait for each other.
func (h *Host) lockSeconds() int { return max(int(h.xtablesWait/time.Second), 1) }

// lockHeld returns the error of a run of iptables so that it is [os.ErrDeadlineExceeded] if
// another program held the lock for too long.
//
// Source: https://git.netfilter.org/iptables/tree/iptables/xshared.c?h=v1.8.9 (xtables_lock_or_exit)
func (h *Host) lockHeld(err error) error {
	if err != nil && strings.Contains(err.Error(), "xtables lock") {
		return fmt.Errorf("the lock of iptables was not free within %d s: %w: %w", h.lockSeconds(), os.ErrDeadlineExceeded, err)
	}
	return err
}

// table lists the nat table of a family.
func (h *Host) table(ctx context.Context, program string) (iptTable, error) {
	text, err := h.run(ctx, "", program, "-t", "nat", "-S")
	return parseTable(text), err
}

// A section is what iptables-restore does to one table, all of it or nothing.
type section struct {
	table string
	lines []string
}

// restore changes tables by one run of a program, section by section. Where there is
// nothing to change none is run.
func (h *Host) restore(ctx context.Context, program string, sections ...section) error {
	text := ""
	for _, s := range sections {
		if len(s.lines) > 0 {
			text += "*" + s.table + "\n" + strings.Join(s.lines, "\n") + "\nCOMMIT\n"
		}
	}
	if text == "" {
		return nil
	}
	_, err := h.run(ctx, text, program, "--noflush")
	return err
}

// revise changes a nat table by the lines that f makes of it. If that fails, and others
// changed the table meanwhile, it begins again: a rule that was to go may be gone, and
// iptables-restore says no more than that it is bad.
func (h *Host) revise(ctx context.Context, program string, f func(iptTable) ([]string, error)) error {
	return retry(ctx, func() error {
		t, err := h.table(ctx, program)
		if err != nil {
			return err
		}
		lines, err := f(t)
		if err != nil {
			return err
		}
		failed := h.restore(ctx, restoreOf(program), section{"nat", lines})
		if failed == nil {
			return nil
		}
		again, err := h.table(ctx, program)
		if err == nil && !slices.Equal(again.rules, t.rules) {
			return errors.Join(errChanged, failed)
		}
		return errors.Join(failed, err)
	})
}

// legacyTable reports whether the network namespace has a nat table of the iptables
// that is not a front end of nftables. To ask by a program would make one.
func (h *Host) legacyTable(f family) bool {
	file := "/proc/thread-self/net/ip_tables_names"
	if f.proto == unix.NFPROTO_IPV6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	var names []byte
	err := h.inside(func() (err error) {
		names, err = os.ReadFile(file)
		return err
	})
	return err == nil && slices.Contains(strings.Fields(string(names)), "nat")
}

// legacySuffix returns what the programs of that iptables are called after the family:
// nothing, where there is no other.
func legacySuffix(f family) string {
	if findProgram(iptProgram(f, "-legacy")) {
		return "-legacy"
	}
	return ""
}

// removeLegacy removes chains of a container, and the rules in shared chains that lead
// there, from the nat tables that are not nftables.
func (h *Host) removeLegacy(ctx context.Context, chains ...chainAndShared) error {
	return h.changeLegacy(ctx, func(t iptTable) []string { return t.removal(chains) })
}

// changeLegacy changes the nat tables that are not nftables by the lines that f returns.
func (h *Host) changeLegacy(ctx context.Context, f func(t iptTable) []string) error {
	var errs []error
	for _, fam := range families() {
		if h.legacyTable(fam) {
			errs = append(errs, h.changeLegacyOf(ctx, fam, f))
		}
	}
	return errors.Join(errs...)
}

// changeLegacyOf is changeLegacy for one family.
func (h *Host) changeLegacyOf(ctx context.Context, fam family, f func(t iptTable) []string) error {
	suffix := legacySuffix(fam)
	if !findProgram(iptProgram(fam, suffix)) {
		h.log.WarnContext(ctx, "cannot look for rules: there is no program", "program", iptProgram(fam, suffix))
		return nil
	}
	return h.revise(ctx, iptProgram(fam, suffix), func(t iptTable) ([]string, error) { return f(t), nil })
}

// removal returns the lines that remove chains and the rules that lead there.
func (t iptTable) removal(chains []chainAndShared) []string {
	var rules, flushes, deletions []string
	for _, c := range chains {
		if !t.has(c.chain) {
			continue
		}
		for _, r := range t.in(c.shared) {
			if r.target() == c.chain {
				rules = append(rules, r.deletion())
			}
		}
		if flush := "-F " + c.chain; !slices.Contains(flushes, flush) {
			flushes = append(flushes, flush)
			deletions = append(deletions, "-X "+c.chain)
		}
	}
	return slices.Concat(rules, flushes, deletions)
}

// nftSuffix returns what the programs of the iptables that is a front end of nftables
// are called after the family: nothing, where there is no other.
func nftSuffix(f family) string {
	if findProgram(iptProgram(f, "-nft")) {
		return "-nft"
	}
	return ""
}

// findProgram reports whether there is a program.
func findProgram(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

// programsWith names the programs that show a nat table with a chain: of either
// iptables.
func (h *Host) programsWith(f family, chain string) []string {
	var programs []string
	if h.hasNFT {
		there, err := h.conn.hasChain(table{family: f.proto, name: "nat"}, chain)
		if err == nil && there {
			programs = append(programs, iptProgram(f, nftSuffix(f)))
		}
	}
	if h.legacyTable(f) && findProgram(iptProgram(f, legacySuffix(f))) {
		programs = append(programs, iptProgram(f, legacySuffix(f)))
	}
	return programs
}
