#!/bin/bash
# Lists the system calls of a running server's media thread under load: calls in rooms of several codecs, with talkers.
# Usage: bench/syscalls.sh [SCENARIO [SECONDS]]. Needs the release binaries of the server and of the load bench.
set -euo pipefail
cd "$(dirname "$0")/.."

scenario=${1:-3x20:2:pcmu+opus+g722:pcmu+pcma+opus-dtx+g722+opus-muted}
seconds=${2:-5}
binaries=${CARGO_TARGET_DIR:-target}/release
server=$binaries/confab
# What a media thread may do while it works: sleep, receive, send; and between two turns, once a second at most, give its real-time
# priority up or take it back. Being traced makes it so slow that it does.
allowed='clock_nanosleep|recvmsg|recvmmsg|sendto|sendmmsg|epoll_wait|sched_setscheduler'

for program in "$server" "$binaries/load"; do
    [ -x "$program" ] || { echo "$program is missing: cargo build --release -p confab -p confab-bench" >&2; exit 1; }
done
if ! command -v strace >/dev/null; then
    (apt-get update && apt-get install -y strace) >&2
fi

work=$(mktemp -d)
load=
trap '[ -z "$load" ] || kill "$load" 2>/dev/null || true; rm -rf "$work"' EXIT

"$binaries/load" --server "$server" --scenario "$scenario" --no-reflector --seconds $((2 * seconds + 15)) \
    >"$work/load" 2>&1 &
load=$!
for _ in $(seq 1200); do
    grep -q 'calls up' "$work/load" && break
    kill -0 "$load" 2>/dev/null || { cat "$work/load" >&2; exit 1; }
    sleep 0.1
done
sleep 4

process=$(pgrep -P "$load" -x confab)
threads=$(grep -l '^confab-media' /proc/"$process"/task/*/comm | cut -d/ -f5)
for thread in $threads; do
    echo "thread $thread ($(cat /proc/"$process"/task/"$thread"/comm)) of $scenario, $seconds s:"
    timeout "$seconds" strace -qq -c -U calls,errors,name -p "$thread" 2>&1 || true
    # Whatever else there is, one by one.
    timeout "$seconds" strace -qq -e "trace=!/^($allowed)\$" -o "$work/other" -p "$thread" 2>/dev/null || true
    if [ -s "$work/other" ]; then
        echo "unexpected:"
        sort "$work/other" | uniq -c | sort -rn | head -20
        unexpected=1
    else
        echo "nothing unexpected in further $seconds s"
    fi
done
exit "${unexpected:-0}"
