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
// the handler gets. The plugin's own namespace is never the container's, unless
// CNI_NETNS_OVERRIDE says so: for DEL, which may be given a stale path, it counts
// as none. A plugin that needs a namespace gets one, or for DEL none.
//
// Spec: checklist PROTO-044, PROTO-045, DEL-006 to DEL-008, ADD-012, CHK-023,
// AMB-040, AMB-048.
func guardNetns(cmd command, path string, needed bool, override string, log *slog.Logger) (string, error) {
	if path == "" {
		return "", nil
	}
	id, err := nsfs.Stat(path)
	if err == nil {
		err = refuseOwn(id, override)
	}
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, errors.ErrUnsupported):
		return path, nil
	case !errors.Is(err, errOwnNetns) && !needed:
		return path, nil // not a namespace to us; the plugin knows what it is
	case !cmd.lenient:
		return "", types.NewError(types.ErrInvalidEnvironmentVariables, envNetns+": no network namespace of a container", err)
	case errors.Is(err, errOwnNetns), errors.Is(err, fs.ErrNotExist), errors.Is(err, nsfs.ErrNotNamespace):
		log.Warn("the namespace is gone, cleaning up what is outside of it", "cause", err)
		return "", nil
	}
	return "", types.NewError(types.ErrInvalidEnvironmentVariables, envNetns, err)
}

var errOwnNetns = errors.New("it is the plugin's own namespace")

func refuseOwn(id nsfs.ID, override string) error {
	if override == "1" || strings.EqualFold(override, "true") {
		return nil
	}
	own, err := nsfs.Self()
	if err == nil && own == id {
		return errOwnNetns
	}
	return nil
}
