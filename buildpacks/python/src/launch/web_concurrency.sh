#!/bin/sh
# Says how many workers a web process should have, from what its container may use: twice the processors and one,
# but no more than a worker for each 256 MiB. Without a limit on memory the server's own default stands.
[ -z "${WEB_CONCURRENCY+set}" ] || exit 0

root=/sys/fs/cgroup

# The first file's words, if it can be read.
words() {
    for file; do
        if [ -r "$file" ]; then
            read -r line < "$file"
            echo "$line"
            return
        fi
    done
}

is_number() {
    case $1 in '' | *[!0-9]*) return 1 ;; esac
}

own=$(sed -n 's/^0:://p' /proc/self/cgroup 2> /dev/null)
if is_number "$DYNO_RAM" && [ ${#DYNO_RAM} -le 7 ]; then
    # A dyno's size, in MiB: what it may take at most before it is killed is twice that.
    limit=$((DYNO_RAM * 1048576))
else
    limit=$(words "$root$own/memory.max" "$root/memory.max" "$root/memory/memory.limit_in_bytes")
fi
# cgroup v1 has a number of nineteen digits where there is no limit.
is_number "$limit" && [ ${#limit} -le 13 ] || exit 0

set -- $(words "$root$own/cpu.max" "$root/cpu.max")
if [ $# -eq 0 ]; then
    set -- $(words "$root/cpu/cpu.cfs_quota_us") $(words "$root/cpu/cpu.cfs_period_us")
fi
processors=$(nproc 2> /dev/null || echo 1)
if is_number "$1" && is_number "$2" && [ "$2" -gt 0 ]; then
    allowed=$((($1 + $2 - 1) / $2))
    [ "$allowed" -ge "$processors" ] || processors=$allowed
fi

workers=$((2 * processors + 1))
fitting=$((limit / 268435456))
[ "$workers" -le "$fitting" ] || workers=$fitting
[ "$workers" -ge 1 ] || workers=1
echo "WEB_CONCURRENCY = \"$workers\"" >&3
