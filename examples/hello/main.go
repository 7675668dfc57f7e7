// SPDX-License-Identifier: Apache-2.0

// Command hello is the smallest plugin: it greets the container in the log and
// passes the result of the plugin before it on.
package main

import (
	"context"
	"log/slog"

	"github.com/cnikit/cnikit/skel"
	"github.com/cnikit/cnikit/types"
)

// Conf is what hello reads from its configuration.
type Conf struct {
	// Greeting is what to say. Empty: nothing but the names.
	Greeting string `json:"greeting"`
}

func plugin() skel.Plugin[Conf] {
	return skel.Plugin[Conf]{
		Name:    "hello",
		About:   "greets the container in the log",
		Chained: true,
		Add: func(ctx context.Context, r *skel.Request[Conf]) (*types.Result, error) {
			slog.InfoContext(ctx, r.Conf.Greeting)
			return r.PrevResult, nil
		},
		Del:    skel.NothingToDo[Conf],
		Check:  skel.NothingToDo[Conf],
		GC:     skel.NothingToDo[Conf],
		Status: skel.NothingToDo[Conf],
	}
}

func main() { skel.Main(plugin()) }
