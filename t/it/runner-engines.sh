#!/bin/bash
# runner.sh, the tests that depend on the store's engine.
exec "$(dirname "$0")/runner.sh" engines
