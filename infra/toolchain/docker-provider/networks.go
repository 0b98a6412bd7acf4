package main

import (
	"context"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

const looks = 3

// believeAbsence has a network taken for gone only where Docker says that it
// is. Upstream takes every failure for that, a lost connection too, and then
// what is there would be made once more.
func believeAbsence(networks *schema.Resource) {
	read := networks.ReadContext
	networks.ReadContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		id := d.Id()
		for look := 1; ; look++ {
			err := seek(ctx, d, meta, id)
			if errdefs.IsNotFound(err) {
				d.SetId("")
				return nil
			}
			if err == nil {
				if found := read(ctx, d, meta); found.HasError() || d.Id() != "" {
					return found
				}
				d.SetId(id)
			}
			if look == looks {
				return diag.Errorf("network %s cannot be looked at: %v", id, err)
			}
			time.Sleep(time.Second)
		}
	}
}

func seek(ctx context.Context, d *schema.ResourceData, meta any, id string) error {
	docker, err := meta.(*provider.ProviderConfig).MakeClient(ctx, d)
	if err != nil {
		return err
	}
	_, err = docker.NetworkInspect(ctx, id, network.InspectOptions{})
	return err
}
