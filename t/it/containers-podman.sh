#!/bin/bash
# The same with Podman: its service speaks the same API.
ENGINE=podman exec "$(dirname "$0")/containers.sh"
