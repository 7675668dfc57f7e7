// SPDX-License-Identifier: Apache-2.0

package skel

import (
	"errors"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/cnikit/cnikit/internal/nsfs"
	"github.com/cnikit/cnikit/types"
)

// guardNetns looks at CNI_NETNS before a handler does, and returns the path that
// the handler gets, and whether it leads to the plugin's own namespace. That is never the
// container's, unless CNI_NETNS_OVERRIDE says so: for DEL, which may be given a stale
// path, it counts as none. A plugin that needs a namespace gets one, or for DEL none.
//
// What opens the path may find something else there than the guard did: the process of
// a path below /proc ended, and its number is another's. To hand on what was looked at
// would be no help. The path is what goes into results and to delegates, so it stays a
// path; and unless somebody keeps a namespace open, the kernel gives its inode to the
// next one, so there is no identity to compare. The plugin's own namespace is the one
// whose identity cannot change meanwhile, and the one where harm is done: therefore what
// opens the path compares with that once more.
//
// Spec: checklist PROTO-044, PROTO-045, DEL-006 to DEL-008, ADD-012, CHK-023,
// AMB-040, AMB-048.
func guardNetns(cmd command, path string, needed bool, override string, log *slog.Logger) (_ string, own bool, err error) {
	if path == "" {
		return "", false, nil
	}
	id, err := nsfs.Stat(path)
	if err == nil {
		own, err = isOwn(id, override)
	}
	switch {
	case err == nil:
		return path, own, nil
	case errors.Is(err, errors.ErrUnsupported):
		return path, false, nil
	case !errors.Is(err, errOwnNetns) && !needed:
		return path, false, nil // not a namespace to us; the plugin knows what it is
	case !cmd.lenient:
		return "", false, types.NewError(types.ErrInvalidEnvironmentVariables, envNetns+": no network namespace of a container", err)
	case errors.Is(err, errOwnNetns), errors.Is(err, fs.ErrNotExist), errors.Is(err, nsfs.ErrNotNamespace):
		log.Warn("the namespace is gone, cleaning up what is outside of it", "cause", err)
		return "", false, nil
	}
	return "", false, types.NewError(types.ErrInvalidEnvironmentVariables, envNetns, err)
}

var errOwnNetns = errors.New("it is the plugin's own namespace")

// isOwn reports whether a namespace is the plugin's own. The error is errOwnNetns if it
// is, and may not be.
func isOwn(id nsfs.ID, override string) (bool, error) {
	own, err := nsfs.Self()
	switch {
	case err != nil || own != id:
		return false, nil
	case override == "1" || strings.EqualFold(override, "true"):
		return true, nil
	}
	return true, errOwnNetns
}
