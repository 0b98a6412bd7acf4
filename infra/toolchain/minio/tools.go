//go:build tools

// Package tools pins MinIO.
package tools

import _ "github.com/minio/minio"
