#!/usr/bin/env bash
# What Go's yaml.v3 takes for a boolean, and for a number.
#
# Expected: a text in quotes is a text, whatever it says: 'yes' is refused where a boolean is meant,
#   as 'true' is. A whole number is refused where the file has 200.7.
# What happens: 'yes' and 'off' in quotes are booleans and 'true' in quotes is none; the fraction of
#   a number is cut off; 0310 is octal; a duration may be '0' in quotes, and not 0.
# Why a monitor cares: blackbox_exporter and most of Prometheus' exporters read their files by it,
#   and whoever reads the same files by another library reads other settings.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >go.mod <<'TEXT'
module finding

go 1.22

require go.yaml.in/yaml/v3 v3.0.4
TEXT
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

func show[T any](text string) {
	var value struct{ V T }
	if err := yaml.Unmarshal([]byte("v: "+text), &value); err != nil {
		fmt.Printf("%T %s is refused\n", value.V, text)
		return
	}
	fmt.Printf("%T %s is %v\n", value.V, text, value.V)
}

func main() {
	for _, text := range []string{"yes", "'yes'", "'off'", "true", "'true'", "1"} {
		show[bool](text)
	}
	for _, text := range []string{"200.7", "0310", "2e2", "'200'"} {
		show[int](text)
	}
	for _, text := range []string{"0", "'0'", "1h30m"} {
		show[time.Duration](text)
	}
}
GO
GOFLAGS=-mod=mod go run . | tee seen
diff seen - <<'TEXT'
bool yes is true
bool 'yes' is true
bool 'off' is false
bool true is true
bool 'true' is refused
bool 1 is refused
int 200.7 is 200
int 0310 is 200
int 2e2 is 200
int '200' is refused
time.Duration 0 is refused
time.Duration '0' is 0s
time.Duration 1h30m is 1h30m0s
TEXT
