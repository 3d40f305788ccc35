#!/bin/sh
# The shell in which DVC runs the commands of stages (`pipelines/reproduce.py` names it in SHELL). It writes the exit
# status of a command into the file PRETEXTBENCH_STATUS; while the command runs, that file is empty.
: > "$PRETEXTBENCH_STATUS"
trap : INT TERM # this shell stays to write the status; the command gets the default handlers
SHELL=/bin/sh /bin/sh "$@"
status=$?
echo "$status" > "$PRETEXTBENCH_STATUS"
exit "$status"
