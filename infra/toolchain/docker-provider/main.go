// Command pulumi-resource-docker serves the upstream Docker provider for
// Terraform to programs that use the published pulumi_docker SDK.
//
// The upstream package is internal to its module: this module's path lies
// beneath that module's, so that it may be imported.
package main

import (
	"os"
	"time"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// version is that of the SDK this plugin serves; the linker sets it.
var version = "0.0.0-dev"

// The SDK's names of the resources, all in its index module.
var resources = map[string]string{
	"docker_buildx_builder": "BuildxBuilder",
	"docker_config":         "ServiceConfig",
	"docker_container":      "Container",
	"docker_image":          "RemoteImage",
	"docker_network":        "Network",
	"docker_plugin":         "Plugin",
	"docker_registry_image": "RegistryImage",
	"docker_secret":         "Secret",
	"docker_service":        "Service",
	"docker_tag":            "Tag",
	"docker_volume":         "Volume",
}

// The SDK's names of the functions.
var functions = map[string]string{
	"docker_image":                    "getRemoteImage",
	"docker_logs":                     "getLogs",
	"docker_network":                  "getNetwork",
	"docker_plugin":                   "getPlugin",
	"docker_registry_image":           "getRegistryImage",
	"docker_registry_image_manifests": "getRegistryImageManifests",
}

// Properties the SDK does not name by the bridge's own rules (which make
// plurals of lists) and a name that is a reference, never to be made up.
var fields = map[string]map[string]*tfbridge.SchemaInfo{
	"docker_container": {
		"command":           {Name: "command"},
		"networks_advanced": {Name: "networksAdvanced"},
	},
	"docker_image": {
		"name": {Name: "name"},
	},
}

func main() {
	go endWith(os.Getppid())
	// Programs bring their own SDK, so that the schema needs to say only whose it is.
	tfbridge.Main("docker", version, bridge(), []byte(`{"name":"docker","version":"`+version+`"}`))
}

// endWith ends the process once its parent, the engine, is gone: what it was
// doing has nobody left to be reported to.
func endWith(parent int) {
	for os.Getppid() == parent {
		time.Sleep(time.Second / 2)
	}
	os.Exit(1)
}

func bridge() tfbridge.ProviderInfo {
	upstream := provider.New(version)()
	limitPids(upstream.ResourcesMap["docker_container"])
	believeAbsence(upstream.ResourcesMap["docker_network"])
	info := tfbridge.ProviderInfo{
		P:           shim.NewProvider(upstream),
		Name:        "docker",
		Version:     version,
		Config:      map[string]*tfbridge.SchemaInfo{"registry_auth": {Name: "registryAuth"}},
		Resources:   make(map[string]*tfbridge.ResourceInfo, len(resources)),
		DataSources: make(map[string]*tfbridge.DataSourceInfo, len(functions)),
	}
	for theirs, name := range resources {
		info.Resources[theirs] = &tfbridge.ResourceInfo{Tok: tokens.Type(token(name)), Fields: fields[theirs]}
	}
	for theirs, name := range functions {
		info.DataSources[theirs] = &tfbridge.DataSourceInfo{Tok: tokens.ModuleMember(token(name))}
	}
	// Names are optional; with an explicit one, a replacement deletes first.
	info.SetAutonaming(255, "-")
	return info
}

func token(name string) string {
	lower := string(name[0]|0x20) + name[1:]
	return "docker:index/" + lower + ":" + name
}
