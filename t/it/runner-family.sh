#!/bin/bash
# runner.sh, the tests of what wakes a round, what its facts hang on and what it leaves behind.
exec "$(dirname "$0")/runner.sh" wake session children
