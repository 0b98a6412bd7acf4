//go:build tools

// Package tools pins NVIDIA's container toolkit: what describes a machine's cards to Docker, and what Docker runs for them.
package tools

import (
	_ "github.com/NVIDIA/nvidia-container-toolkit/cmd/nvidia-cdi-hook"
	_ "github.com/NVIDIA/nvidia-container-toolkit/cmd/nvidia-ctk"
)
