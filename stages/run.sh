#!/bin/sh
# Runs a stage: `sh stages/run.sh NAME ...`, as dvc.yaml does, by the Python of the `dvc` that starts it. So no
# environment need be activated, and the machine may have no `python`. Where that Python lacks the packages of this
# project, stages/__init__.py changes to another.
own=""
process=$PPID
for step in 1 2 3; do # between DVC and this script there may be shells
    [ -r "/proc/$process/cmdline" ] || break
    program=$(tr '\0' '\n' < "/proc/$process/cmdline" | head -n 1)
    case ${program##*/} in
        python*) own=$program && break ;;
    esac
    process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$process/status")
done
case $own in
    /*) ;;
    */*) own=$(readlink "/proc/$process/cwd")/$own ;;
esac
for python in "$own" python python3 .venv/bin/python; do
    if [ -n "$python" ] && command -v "$python" > /dev/null 2>&1; then
        exec "$python" -m stages "$@"
    fi
done
echo "error: no Python on the search path. Start with \`uv run\`, or activate the environment of this project." >&2
exit 2
