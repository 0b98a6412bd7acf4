//go:build tools

// Package tools pins Pebble, a small ACME directory for tests, and the name server beside it.
package tools

import (
	_ "github.com/letsencrypt/pebble/v2/cmd/pebble"
	_ "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv"
)
