module github.com/cnikit/cnikit/internal/interop

go 1.25

replace github.com/cnikit/cnikit => ../..

require (
	github.com/cnikit/cnikit v0.0.0
	github.com/containernetworking/cni v1.3.0
)
