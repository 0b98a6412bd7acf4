// Says a name-based identifier, which it needs a module of somebody else's for.
package main

import (
	"fmt"

	"github.com/google/uuid"
)

func main() {
	fmt.Println(uuid.NewSHA1(uuid.NameSpaceDNS, []byte("maia")))
}
