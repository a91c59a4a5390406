#!/bin/bash -p
# Stands on PATH before the launcher of its own name, for programs that start MPI by themselves (CTest, make check, pytest): puts the
# per-rank wrapper between that launcher and its program, and notes how many ranks were asked for. Where the options of the
# launcher are not understood, it is started as it was called, and that is noted.
name=${0##*/}
own=${0%/*}
rest= real=
IFS=: read -r -a dirs <<<"$PATH"
for dir in "${dirs[@]}"; do
  [ -n "$dir" ] || dir=.
  [ ! "$dir" -ef "$own" ] || continue
  rest+=:$dir
  if [ -z "$real" ] && [ -f "$dir/$name" ] && [ -x "$dir/$name" ]; then real=$dir/$name; fi
done
# Daemons that a launcher starts by another one, and ranks that start MPI again, are no ranks of the step.
PATH=${rest#:}
if [ -z "$real" ]; then
  printf '%s: command not found\n' "$name" >&2
  exit 127
fi
wrapper=${HPC_CI_WRAPPER:-}
# Open MPI takes a path in its own name for a wish of the user's.
start() { exec -a "$name" "$real" "$@"; }
if [ -z "$wrapper" ] || [ -n "${HPC_CI_LAUNCHED:-}" ] || [ ! -d "${HPC_CI_OUT:-}/launches" ]; then start "$@"; fi
case ${1:-} in --version|--help|--help=*|-V|-h|-help|-version|--usage|--mpi=list|-info|--showme*) start "$@" ;; esac

HPC_CI_LAUNCHED=$name.$$.${SLURM_NODEID:-0}.$RANDOM
launch=$HPC_CI_OUT/launches/$HPC_CI_LAUNCHED
export HPC_CI_LAUNCHED

as_it_is() { # starts the launcher as it was called
  printf 'unknown\n' >"$launch"
  unset HPC_CI_LAUNCHED
  start "$@"
}

if [ "$name" = srun ]; then
  flavour=srun
else
  case $("$real" --version 2>&1) in
    *'Open MPI'*|*OpenRTE*|*PRTE*) flavour=openmpi ;;
    *HYDRA*|*Hydra*|*'Intel(R) MPI'*|*MPICH*) flavour=mpich ;;
    *) as_it_is "$@" ;;
  esac
fi

# Sets takes to the number of words that follow this option, or fails if it is not known.
words_after() {
  case $flavour in
    srun) words_after_srun "$1" ;;
    openmpi) words_after_openmpi "$1" ;;
    mpich) words_after_mpich "$1" ;;
  esac
}

words_after_srun() {
  takes=0
  case $1 in
    --multi-prog*|--version|--usage|--help*|--test-only|--mpi=list|-V|-h) return 1 ;;
    --*=*) ;;
    --compress|--contiguous|--disable-status|--exact|--exclusive|--hold|--immediate|--interactive|--kill-on-bad-exit|--label|--nice|--no-allocate|\
    --no-kill|--overcommit|--overlap|--oversubscribe|--preserve-env|--propagate|--pty|--quiet|--quit-on-interrupt|--reboot|--resv-ports|--send-libs|\
    --share|--spread-job|--unbuffered|--use-min-nodes|--verbose) ;;
    --*) takes=1 ;;
    -[AbcCdDeGiJLmMnNopqrStTwWxB]) takes=1 ;;
    -[AbcCdDeGiJLmMnNopqrStTwWxBIK]?*) ;;
    -*[!EHIkKlOQsuvXZ-]*) return 1 ;;
    -*) ;;
  esac
}

words_after_mpich() {
  local option=${1#-}
  takes=1
  case ${option#-} in
    *=*) takes=0 ;;
    version|help|info|configfile|h|V) return 1 ;;
    n|np|ppn|perhost|grr|f|host|hosts|hostfile|machinefile|machine|hostlist|wdir|wd|dir|path|envlist|genvlist|launcher|launcher-exec|bootstrap|\
    bootstrap-exec|rmk|topolib|bind-to|binding|map-by|membind|demux|iface|prepend-pattern|outfile-pattern|errfile-pattern|nameserver|order-nodes|\
    localhost|usize|gpus-per-proc|timeout|s|a) ;;
    env|genv) takes=2 ;;
    genvnone|genvall|envnone|envall|enable-x|disable-x|verbose|v|print-all-exitcodes|profile|prepend-rank|l|disable-auto-cleanup|\
    disable-hostname-propagation|pmi-port|skip-launch-node) takes=0 ;;
    *) return 1 ;;
  esac
}

words_after_openmpi() {
  local option=${1#-}
  takes=1
  case ${option#-} in
    *=*) takes=0 ;;
    V|version|h|help|app|showme*) return 1 ;;
    n|np|c|N|npernode|npersocket|x|H|host|hosts|hostfile|machinefile|default-hostfile|map-by|bind-to|rank-by|rf|rankfile|wd|wdir|path|output-filename|output|display|prefix|\
    tune|am|timeout|stdin|cpu-set|cpu-list|cpus-per-proc|cpus-per-rank|personality|with-ft|xterm|ompi-server|runtime-options|report-pid|report-uri|dvm-uri|\
    max-restarts|launch-agent|pmixam|prtemca-params|set-cwd-to-session-dir-of|get-stack-traces-timeout|stream-buffering|ppr|slot-list|num-proc|fwd-mpirun-port-to) ;;
    mca|gmca|pmixmca|prtemca|gpmixmca|gprtemca|omca) takes=2 ;;
    q|quiet|v|verbose|allow-run-as-root|oversubscribe|nooversubscribe|use-hwthread-cpus|use-hwthreads-as-cpus|report-bindings|tag-output|timestamp-output|\
    display-map|display-allocation|display-devel-map|display-devel-allocation|display-topo|display-diffable-map|do-not-launch|bynode|byslot|bycore|nolocal|\
    preload-binary|s|merge-stderr-to-stdout|enable-recovery|disable-recovery|continuous|index-argv-by-rank|get-stack-traces|novm|pernode|noprefix|\
    report-state-on-timeout|bind-to-core|bind-to-socket|bind-to-none|do-not-resolve|report-events|debug-daemons|leave-session-attached|forward-signals-none|\
    report-child-jobs-separately|overload-allowed|no-ready-msg|enable-instant-on-support|output-proctable) takes=0 ;;
    *) return 1 ;;
  esac
}

# The number behind an option of ranks, or in it.
ranks_in() { # OPTION NEXT
  case $1 in
    -n|-np|--n|--np|-c|--ntasks|--num-proc) [ "$flavour$1" != srun-c ] && count=$2 ;;
    --ntasks=*|-np=*|--np=*|-n=*|--n=*) count=${1#*=} ;;
    -n[0-9]*) [ "$flavour" != srun ] || count=${1#-n} ;;
  esac
}

command=() total=0 is_known=1
while [ "$#" != 0 ]; do
  # One segment: options, program, its arguments; a colon may begin the next.
  count=
  while [ "$#" != 0 ]; do
    case $1 in
      --) command+=("$1"); shift; break ;;
      -*) ;;
      *) break ;;
    esac
    words_after "$1" || as_it_is "${command[@]}" "$@"
    ranks_in "$1" "${2:-}"
    [ "$#" -gt "$takes" ] || as_it_is "${command[@]}" "$@"
    command+=("${@:1:takes+1}")
    shift "$((takes + 1))"
  done
  if [ "$#" = 0 ]; then as_it_is "${command[@]}"; fi
  case $count in
    ''|*[!0-9]*) is_known= ;;
    *) total=$((total + 10#$count)) ;;
  esac
  [ "$1" = "$wrapper" ] || command+=("$wrapper")
  while [ "$#" != 0 ]; do
    word=$1
    command+=("$word")
    shift
    [ "$word" != : ] || break
  done
done
if [ -n "$is_known" ] && [ "$total" != 0 ]; then printf 'ranks %s %s\n' "$total" "$flavour"; else printf 'ranks ? %s\n' "$flavour"; fi >"$launch"
start "${command[@]}"
