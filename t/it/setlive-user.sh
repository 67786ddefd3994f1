#!/bin/bash
# The tests of setlive.sh once more, as an ordinary user when we are root.
# long
set -u
. "$(dirname "$0")/../lib.sh"
can_drop || skip_all "only root can become somebody else; setlive.sh ran as an ordinary user"
unprivileged test -x "$BUILD_DIR/bin/pp-setlive" || skip_all "$BUILD_DIR cannot be read by others"
AS_NOBODY=1 unprivileged bash "$(dirname "$0")/setlive.sh" || : >"$T/.failed"
tests_run=1
done_testing
