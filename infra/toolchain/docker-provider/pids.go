package main

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

const (
	pidsLimit = "pids_limit"
	tries     = 50
	pause     = 100 * time.Millisecond
)

// limitPids teaches upstream's container the one limit it lacks: how many
// processes may run in it. Docker sets it on the container once it exists.
func limitPids(containers *schema.Resource) {
	containers.Schema[pidsLimit] = &schema.Schema{
		Type:        schema.TypeInt,
		Description: "The most processes that may run in the container at once.",
		Optional:    true,
	}
	create, read, update := containers.CreateContext, containers.ReadContext, containers.UpdateContext

	containers.CreateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		limit := d.Get(pidsLimit).(int) // upstream ends with a read, which looks at what is
		if found := create(ctx, d, meta); found.HasError() || limit == 0 || d.Id() == "" {
			return found
		}
		if err := setPids(ctx, d, meta, limit); err != nil {
			return diag.FromErr(err)
		}
		return readPids(ctx, d, meta)
	}
	containers.UpdateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		limit, changed := d.Get(pidsLimit).(int), d.HasChange(pidsLimit)
		if found := update(ctx, d, meta); found.HasError() || !changed {
			return found
		}
		if err := setPids(ctx, d, meta, limit); err != nil {
			return diag.FromErr(err)
		}
		return readPids(ctx, d, meta)
	}
	containers.ReadContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if found := read(ctx, d, meta); found.HasError() || d.Id() == "" {
			return found
		}
		return readPids(ctx, d, meta)
	}
}

func setPids(ctx context.Context, d *schema.ResourceData, meta any, limit int) error {
	docker, err := meta.(*provider.ProviderConfig).MakeClient(ctx, d)
	if err != nil {
		return err
	}
	most := int64(limit)
	if limit == 0 {
		most = -1 // none
	}
	limited := container.UpdateConfig{Resources: container.Resources{PidsLimit: &most}}
	for try := 1; ; try++ {
		_, err = docker.ContainerUpdate(ctx, d.Id(), limited)
		// One that has just stopped is refused, in several ways, until Docker has taken note of it; what made it stop is
		// not ours to tell.
		if err == nil || try == tries {
			break
		}
		time.Sleep(pause)
	}
	if err != nil {
		return fmt.Errorf("limit the processes of container %s: %w", d.Id(), err)
	}
	return nil
}

func readPids(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	docker, err := meta.(*provider.ProviderConfig).MakeClient(ctx, d)
	if err != nil {
		return diag.FromErr(err)
	}
	seen, err := docker.ContainerInspect(ctx, d.Id())
	if err != nil {
		return diag.FromErr(err)
	}
	limit := 0
	if most := seen.HostConfig.PidsLimit; most != nil && *most > 0 {
		limit = int(*most)
	}
	return diag.FromErr(d.Set(pidsLimit, limit))
}
