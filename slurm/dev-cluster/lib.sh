# What up, down, node and svc share: settings, processes, daemons, nodes. Sourced, never run.
# shellcheck shell=bash disable=SC2034

HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
PATH=$PATH:/usr/sbin:/sbin

# A cluster lives under RUN. Two clusters side by side differ in RUN, NET (its /24) and PORT (two are taken: slurmctld's
# and, three higher, slurmdbd's; interface and cgroup names carry PORT as well).
RUN=${HPC_SLURM_RUN:-/var/tmp/hpc-slurm}
NET=${HPC_SLURM_NET:-10.77.0}
PORT=${HPC_SLURM_PORT:-6817}
NODES='' CPUS='' CGROUP=''
JOB_USER=hpcuser
SHARED=$RUN/shared
MEM=$RUN/mem # a tmpfs: what is written often and dies with the cluster


# What a running cluster was started with beats the environment of a later `node`, `svc` or `down`. Nobody else's file is
# read: RUN may lie where everybody can write.
load_settings() {
    # shellcheck disable=SC1091
    if [ -O "$RUN/settings" ]; then . "$RUN/settings"; fi
    BRIDGE=hs$PORT
}

load_settings
export SLURM_CONF=$RUN/slurm.conf

say() { printf '%s\n' "dev-cluster: $*" >&2; }
die() { say "$@"; exit 1; }

need_root() {
    [ "$(id -u)" = 0 ] || die "root is needed for namespaces, mounts and slurmd; try: sudo --preserve-env $0 $*"
}

# One `up` or `down` at a time. The daemons must not inherit the lock, hence `9>&-` where they start.
lock() {
    mkdir -p "$RUN"
    [ -O "$RUN" ] || die "$RUN belongs to somebody else; set HPC_SLURM_RUN"
    exec 9>"$RUN/lock"
    flock 9
    load_settings
}

# wait_for SECONDS WHAT COMMAND...: polls until COMMAND succeeds.
wait_for() {
    local seconds=$1 what=$2 deadline
    deadline=$((${EPOCHREALTIME/./} + seconds * 1000000))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "${EPOCHREALTIME/./}" -lt "$deadline" ] || die "$what: not within $seconds s; look into $RUN/log"
        sleep 0.05
    done
}

# --- processes, recorded as "PID START-TIME" so that a recycled pid is never taken for ours ---

# Prints state and start time of a process, the 3rd and 22nd fields of its stat, counted behind the name's parenthesis.
stat_of() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -ra stat <<<"${stat##*) }"
    printf '%s %s' "${stat[0]}" "${stat[19]}"
}

record() { # NAME PID
    local state started
    read -r state started <<<"$(stat_of "$2")" || true
    echo "$2 $started" >"$RUN/pid/$1"
}

# Prints the pid of what was recorded as NAME if it is alive. A zombie is not.
pid_of() {
    local pid started state now
    read -r pid started 2>/dev/null <"$RUN/pid/$1" || return 1
    read -r state now <<<"$(stat_of "$pid")" || return 1
    [ "$now" = "$started" ] && [ "$state" != Z ] && echo "$pid"
}

gone() { ! pid_of "$1" >/dev/null; }

signal() { # SIGNAL NAME
    local pid
    if pid=$(pid_of "$2"); then kill -s "$1" "$pid" 2>/dev/null || true; fi
}

# spawn NAME COMMAND...: in the background, in a session of its own, unless it runs already.
spawn() {
    local name=$1
    shift
    gone "$name" || return 0
    setsid "$@" </dev/null >>"$RUN/log/$name.out" 2>&1 9>&- &
    record "$name" $!
}

# --- daemons on the host, the cluster's login node ---

SERVICES=(munged mariadbd slurmdbd slurmctld)

start_service() {
    case $1 in
    munged)
        # --force lets it run as root with a socket of our own.
        spawn munged munged --foreground --force --num-threads=2 --key-file="$RUN/munge.key" \
            --socket="$RUN/munge.sock" --pid-file="$RUN/pid/munged.own" \
            --log-file="$RUN/log/munged.log" --seed-file="$MEM/munge.seed"
        wait_for 10 munged munge --socket="$RUN/munge.sock" --no-input --output=/dev/null
        ;;
    mariadbd)
        spawn mariadbd mariadbd --no-defaults --user=root --datadir="$MEM/db" --socket="$MEM/db.sock" \
            --skip-networking --innodb-buffer-pool-size=32M --innodb-log-file-size=16M \
            --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900
        wait_for 20 mariadbd mariadb --no-defaults --socket="$MEM/db.sock" --execute='select 1'
        ;;
    slurmdbd)
        # slurmdbd has no setting for the database's socket; the client library reads this variable.
        MYSQL_UNIX_PORT=$MEM/db.sock spawn slurmdbd slurmdbd -D
        wait_for 20 slurmdbd sacctmgr --noheader list cluster
        ;;
    slurmctld)
        spawn slurmctld slurmctld -D
        wait_for 20 slurmctld scontrol ping
        ;;
    *) die "no service \`$1\`; there are: ${SERVICES[*]}" ;;
    esac
}

# --- nodes: namespaces of their own, joined to the host by a bridge ---

# Succeeds if node N answers to slurmctld and was not given up.
node_ready() {
    local state
    state=$(sinfo --noheader --nodes="n$1" --format=%T | head -n 1)
    [[ -n $state && $state != *[*] && $state != unk* && $state != down* ]]
}

# The network namespace of a process other than this one's: `unshare` has done its work.
unshared() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ] && [ -e "/proc/$1/ns/net" ]; }

boot_node() {
    local n=$1 pid
    gone "node$n" || return 0
    remove_cgroups "$n"
    if [ "$CGROUP" = 1 ]; then mkdir -p "/sys/fs/cgroup/"{memory,freezer}"/$BRIDGE-$n"; fi
    ip link del "$BRIDGE-$n" 2>/dev/null || true
    spawn "node$n" unshare --mount --uts --ipc --net --pid --fork --kill-child --mount-proc "$HERE/node-init" "$n"
    pid=$(pid_of "node$n") || die "node n$n did not start; look into $RUN/log/node$n.out"
    wait_for 5 "namespaces of n$n" unshared "$pid"
    # The address is fixed so that a node that was killed and booted is the same neighbour.
    ip link add "$BRIDGE-$n" type veth peer name eth0 \
        address "$(printf '02:00:00:%02x:%02x:%02x' $((PORT / 256)) $((PORT % 256)) "$n")" netns "$pid"
    ip link set "$BRIDGE-$n" master "$BRIDGE" up
}

# As if its plug was pulled: every process of the node dies with the first of its pid namespace.
kill_node() {
    signal KILL "node$1"
    wait_for 10 "end of n$1" gone "node$1"
    rm -f "$RUN/pid/node$1"
    ip link del "$BRIDGE-$1" 2>/dev/null || true
    remove_cgroups "$1"
}

# The kernel empties a cgroup a moment after its processes died.
remove_cgroups() {
    local dir
    for dir in "/sys/fs/cgroup/"{memory,freezer}"/$BRIDGE-$1"; do
        [ ! -d "$dir" ] || wait_for 10 "removal of $dir" remove_tree "$dir"
    done
}

remove_tree() { find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || [ ! -d "$1" ]; }
