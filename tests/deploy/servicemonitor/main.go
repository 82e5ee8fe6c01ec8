// Reads ServiceMonitors of a rendered chart as the Prometheus Operator reads them, and fails where a
// field is none of its fields.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	read := 0
	for _, document := range strings.Split("\n"+string(text), "\n---") {
		if !strings.Contains(document, "kind: ServiceMonitor") {
			continue
		}
		var monitor monitoring.ServiceMonitor
		if err := yaml.UnmarshalStrict([]byte(document), &monitor); err != nil {
			fail(err)
		}
		read++
	}
	if read == 0 {
		fail(fmt.Errorf("no ServiceMonitor was rendered"))
	}
	fmt.Println(read, "read")
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
