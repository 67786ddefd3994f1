#!/bin/bash
# The remote engines against a scripted server; all the rows are in faults.c.
exec "${BUILD_DIR:-build/gcc}/t/it/faults" "$@"
