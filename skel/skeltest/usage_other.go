// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package skeltest

import "os"

func maxRSS(*os.ProcessState) int64 { return 0 }
