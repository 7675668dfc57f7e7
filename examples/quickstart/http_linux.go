// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/cnikit/cnikit/ns"
)

// port is where each namespace serves HTTP.
const port = 80

// serve answers each HTTP request in a namespace with the name of the server and
// the address that the request came from. It ends with the process.
func serve(in *ns.NS, name string) error {
	return in.Do(func() error {
		// The socket belongs to the namespace, whichever thread accepts.
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		server := &http.Server{
			ReadHeaderTimeout: time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				from, err := netip.ParseAddrPort(r.RemoteAddr)
				if err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				fmt.Fprintf(w, "%s sees you as %s", name, from.Addr().Unmap())
			}),
		}
		go server.Serve(listener)
		return nil
	})
}

// get asks the server at an address, from inside a namespace, and returns what it
// says.
func get(ctx context.Context, from *ns.NS, to netip.Addr) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = from.Do(func() error {
				conn, err = new(net.Dialer).DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}
	url := "http://" + netip.AddrPortFrom(to, port).String() + "/"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	return string(body), err
}
