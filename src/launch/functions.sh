# A requeued job starts again in the same folder: each start keeps its files apart.
HPC_CI_OUT=$HPC_CI_STEP_DIR
hpc_ci_restart=${SLURM_RESTART_COUNT:-0}
if [ "$hpc_ci_restart" != 0 ]; then
  HPC_CI_OUT=$HPC_CI_STEP_DIR/restart-$hpc_ci_restart
  # Slurm appends to the log, where results may stand: those of an earlier start are not this one's.
  cp "$HPC_CI_STEP_DIR/log.txt" "$HPC_CI_STEP_DIR/log-before-restart-$hpc_ci_restart.txt" && : >"$HPC_CI_STEP_DIR/log.txt"
fi 2>/dev/null
HPC_CI_TRACEFILE_DIR=$HPC_CI_OUT/tracefiles
export HPC_CI_OUT HPC_CI_TRACEFILE_DIR
# What the record says if this script ends before it says otherwise.
hpc_ci_code=125 hpc_ci_refused='the job script ended before the command of the step was started'
hpc_ci_failed_part= hpc_ci_talk=$HPC_CI_STEP_DIR/log.txt
hpc_ci_mpi= hpc_ci_library= hpc_ci_blas= hpc_ci_loaded=() hpc_ci_launch=() hpc_ci_modules= hpc_ci_settings={} hpc_ci_notes=0 hpc_ci_manager=

# Hundreds of small steps start as many of these scripts, so what bash can do itself is not left to other programs.
hpc_ci_now() { # sets $hpc_ci_time, in seconds since the epoch
  if [ -n "${EPOCHREALTIME:-}" ]; then hpc_ci_time=${EPOCHREALTIME/,/.}; else hpc_ci_time=$(date +%s.%N); fi
}
hpc_ci_now
hpc_ci_started=$hpc_ci_time

hpc_ci_json() { # VARIABLE TEXT: sets the variable to a JSON string of any text
  local text=$2
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  printf -v "$1" '"%s"' "${text//[[:cntrl:]]/ }"
}

hpc_ci_variables=(OMP_ KMP_ GOMP_ OMPI_MCA_ PMIX_MCA_ PRTE_MCA_ MPICH_ MPIR_CVAR_ I_MPI_ MV2_ UCX_ FI_ NCCL_ RCCL_ MKL_ OPENBLAS_ BLIS_
  CUDA_ ROCR_ HIP_ KOKKOS_ JULIA_ MALLOC_)
hpc_ci_environment() { # VARIABLE: sets it to a JSON object of the variables that change how programs run
  local start name value all= names
  for start in "${hpc_ci_variables[@]}"; do
    eval "names=(\"\${!$start@}\")"
    for name in "${names[@]}"; do
      hpc_ci_json value "${!name}"
      all+=",\"$name\":$value"
    done
  done
  printf -v "$1" '{%s}' "${all#,}"
}

hpc_ci_launcher_line() { # VARIABLE: sets it to the launcher as one would type it, without the wrapper and what `env` sets before it
  local words=("${hpc_ci_launch[@]}") line=
  [ ${#words[@]} = 0 ] || unset "words[${#words[@]}-1]"
  if [ "${words[0]:-}" = env ]; then
    words=("${words[@]:1}")
    while [[ ${words[0]:-} == *=* ]]; do words=("${words[@]:1}"); done
  fi
  [ ${#words[@]} = 0 ] || printf -v line '%q ' "${words[@]}"
  printf -v "$1" '%s' "${line% }"
}

hpc_ci_line_of() { # FILE VARIABLE: sets it to the first line of a regular file, if there is one; the step may have put anything there
  # bash passes over zeros, of which a sparse file may have gigabytes.
  [ -f "$1" ] && [ ! -L "$1" ] && IFS= read -r "$2" < <(head -c 4096 -- "$1" | tr -d '\0')
} 2>/dev/null

hpc_ci_finish() { # writes the exit record, whole or not at all, and ends
  local timed_out=false
  local job nodes mpi part modules host launch library libraries blas refused=null
  trap - EXIT
  [ -e "$HPC_CI_OUT/timed-out" ] && timed_out=true
  [ -n "$hpc_ci_refused" ] || hpc_ci_line_of "$HPC_CI_OUT/refused" hpc_ci_refused
  [ -n "$hpc_ci_refused" ] || hpc_ci_line_of "$HPC_CI_OUT/out-of-reach" hpc_ci_refused
  hpc_ci_now
  [ -z "$hpc_ci_measures" ] || sh "$hpc_ci_facts" end "$HPC_CI_OUT/nodes" 2>/dev/null
  hpc_ci_json job "${SLURM_JOB_ID:-}"
  hpc_ci_json nodes "${SLURM_JOB_NODELIST:-$hpc_ci_host}"
  hpc_ci_json mpi "${hpc_ci_mpi:-}"
  hpc_ci_json part "$hpc_ci_failed_part"
  hpc_ci_json modules "$hpc_ci_modules"
  hpc_ci_json host "$hpc_ci_host"
  hpc_ci_launcher_line launch
  hpc_ci_json launch "$launch"
  hpc_ci_json library "${hpc_ci_library:-}"
  hpc_ci_json blas "${hpc_ci_blas:-}"
  printf -v libraries '%s:' "${hpc_ci_loaded[@]}"
  hpc_ci_json libraries "$libraries"
  [ -z "$hpc_ci_refused" ] || hpc_ci_json refused "$hpc_ci_refused"
  # What the step may have put there instead: to write into a FIFO would wait for ever.
  [ ! -e "$HPC_CI_OUT/exit.json" ] && [ ! -L "$HPC_CI_OUT/exit.json" ] || rm -rf "$HPC_CI_OUT/exit.json"
  [ ! -e "$hpc_ci_ended" ] && [ ! -L "$hpc_ci_ended" ] || rm -rf "$hpc_ci_ended"
  # In one write: what a reader finds half of, it takes for absent.
  printf '%s\n' "{\"schema_version\":1,\"exit_code\":$hpc_ci_code,\"timed_out\":$timed_out,\"started\":$hpc_ci_started,\
\"ended\":$hpc_ci_time,\"job_id\":$job,\"restart_count\":$hpc_ci_restart,\"nodes\":$nodes,\"ranks_expected\":$hpc_ci_ranks,\"launches\":$hpc_ci_notes,\"process_manager\":\"$hpc_ci_manager\",\
\"mpi\":$mpi,\"failed_part\":$part,\"modules\":$modules,\"host\":$host,\"launch\":$launch,\"library\":$library,\"libraries\":$libraries,\"blas\":$blas,\
\"environment\":$hpc_ci_settings,\"launch_error\":$refused}" >"$HPC_CI_OUT/exit.json"
  hpc_ci_reduce
  [ -z "${hpc_ci_cwd:-}" ] || hpc_ci_keep
  hpc_ci_hash_libraries
  : >"$hpc_ci_ended"
  [ "$hpc_ci_code" -le 128 ] || exit 1
  exit "$hpc_ci_code"
}

hpc_ci_waiting() { # sets the array hpc_ci_nodes: other nodes whose profiles are still on their own disks, and hpc_ci_here for this one
  local choice kind host
  hpc_ci_nodes=() hpc_ci_here=
  for choice in "$HPC_CI_OUT"/storage/*/use; do
    [ -f "$choice" ] || continue
    kind=
    hpc_ci_line_of "$choice" kind
    kind=${kind%% *}
    host=${choice%/use} host=${host##*/}
    [ "$kind" = scratch ] && [ ! -e "$HPC_CI_OUT/storage/$host/done" ] || continue
    if [ "$host" = "$(uname -n)" ]; then hpc_ci_here=1; else hpc_ci_nodes+=("${host%%.*}"); fi
  done
}

hpc_ci_reduce() { # one task on each node adds up what its ranks wrote there
  local node list
  [ -n "${HPC_CI_NODE:-}" ] || return 0
  hpc_ci_waiting
  [ -z "$hpc_ci_here" ] || timeout -k 5 "$hpc_ci_reduce_time" "$HPC_CI_NODE" reduce &
  if [ "${#hpc_ci_nodes[@]}" != 0 ] && type -P srun >/dev/null; then
    printf -v list '%s,' "${hpc_ci_nodes[@]}"
    hpc_ci_reduce_on "${#hpc_ci_nodes[@]}" "${list%,}"
  fi
  wait
  # One node that does not answer spoils a task on all of them, so those that are left are asked each for itself.
  hpc_ci_waiting
  if type -P srun >/dev/null; then
    for node in "${hpc_ci_nodes[@]}"; do hpc_ci_reduce_on 1 "$node" & done
  fi
  wait
}

hpc_ci_reduce_on() { # COUNT LIST: runs one task on each of these nodes
  timeout -k 5 "$hpc_ci_reduce_time" "${hpc_ci_identity[@]}" srun --quiet --input=none --mpi=none --export=ALL --overlap --mem=0 --gres=none \
    --nodes="$1" --nodelist="$2" --ntasks="$1" --ntasks-per-node=1 --cpus-per-task=1 --cpu-bind=none --kill-on-bad-exit=0 \
    "$HPC_CI_NODE" reduce
}

hpc_ci_refuse() { # MESSAGE: the step cannot start
  hpc_ci_refused=$1
  hpc_ci_code=125
  printf 'hpc-ci: %s\n' "$1" >&2
  hpc_ci_finish
}

mkdir -p "$HPC_CI_OUT/profiles" "$HPC_CI_OUT/storage" "$HPC_CI_OUT/ranks" "$HPC_CI_TRACEFILE_DIR" ${hpc_ci_measures:+"$HPC_CI_OUT/nodes"} ||
  exit 125
read -r hpc_ci_host </proc/sys/kernel/hostname
# Once a run on each node, and for each benchmark.
[ -e "$hpc_ci_run_nodes/$hpc_ci_host" ] || sh "$hpc_ci_facts" node "$hpc_ci_run_nodes" 2>/dev/null
[ -z "$hpc_ci_measures" ] || sh "$hpc_ci_facts" begin "$HPC_CI_OUT/nodes" 2>/dev/null
trap hpc_ci_finish EXIT

hpc_ci_run_set_up() { # makes the environment of the project, or ends with the reason why it cannot be made
  local code=0
  [ -n "$hpc_ci_set_up_text" ] || return 0
  hpc_ci_bounded "$((hpc_ci_limit + 60))" set-up-timed-out 'the set-up' hpc_ci_set_up "$HPC_CI_OUT" || code=$?
  cat "$HPC_CI_OUT/set-up.log"
  if [ -n "$hpc_ci_interrupted" ]; then
    hpc_ci_refused= hpc_ci_code=$code
    hpc_ci_finish
  elif [ -e "$HPC_CI_OUT/set-up-timed-out" ]; then
    hpc_ci_set_up_why "$HPC_CI_OUT"
    hpc_ci_refuse "the set-up took longer than the step's \`time\` and a minute: $hpc_ci_why"
  elif [ "$code" != 0 ]; then
    hpc_ci_set_up_why "$HPC_CI_OUT"
    hpc_ci_refuse "$hpc_ci_why"
  fi
}

hpc_ci_ask_environment() { # tells, as text for this script, how ranks are started inside the environment of the step
  hpc_ci_refused=
  hpc_ci_refuse() {
    hpc_ci_refused=$1
    declare -p hpc_ci_refused >&3
    exit
  }
  hpc_ci_in_step
  type -P bash >/dev/null || hpc_ci_refuse "\`bash\` is not in the PATH that the set-up left: $PATH"
  hpc_ci_modules=${LOADEDMODULES:-}
  hpc_ci_environment hpc_ci_settings
  hpc_ci_choose
  declare -p hpc_ci_refused hpc_ci_mpi hpc_ci_library hpc_ci_blas hpc_ci_loaded hpc_ci_launch hpc_ci_modules hpc_ci_settings hpc_ci_manager >&3
}

hpc_ci_run_steps() { # runs the command and what stands before it, and sets $hpc_ci_code
  hpc_ci_refused='the job script ended before the command of the step did'
  [ "$hpc_ci_launcher" = none ] || hpc_ci_notes=$hpc_ci_launches
  hpc_ci_bounded "$hpc_ci_limit" timed-out 'the step' hpc_ci_steps
  hpc_ci_code=$?
  hpc_ci_refused=
  hpc_ci_line_of "$HPC_CI_OUT/failed-part" hpc_ci_failed_part
}

hpc_ci_stop() { # stops the launcher $1, gently first: ranks that end by themselves still write their profiles
  local child=$1 step= tries=0
  hpc_ci_line_of "$HPC_CI_OUT/srun-step" step
  if [ -n "$step" ] && [ "$hpc_ci_launcher" = srun ]; then
    # srun takes SIGTERM as an order to kill: the ranks are asked past it.
    scancel -s TERM "$step" 2>/dev/null
  else
    kill -TERM -- "-$child" 2>/dev/null
  fi
  while kill -0 "$child" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.2; tries=$((tries + 1)); done
  [ -z "$step" ] || scancel -s KILL "$step" 2>/dev/null
  kill -KILL -- "-$child" 2>/dev/null
}

hpc_ci_bounded() { # SECONDS MARK WHAT COMMAND...: runs it in a process group of its own, for so long at most; says if it was interrupted
  local child dog code limit=$1 mark=$2 what=$3
  shift 3
  hpc_ci_interrupted=
  set -m
  "$@" &
  child=$!
  set +m
  (
    # Until the sleep has started, $! is still the step. SIGTERM would be lost on a shell that is about to become the sleep. What
    # nobody waits for, Slurm finds in the job's control group and looks for again a second later.
    trap '[ "$!" = "$child" ] || { kill -KILL "$!"; wait "$!"; } 2>/dev/null; exit 0' TERM
    sleep "$limit" &
    wait $!
    : >"$HPC_CI_OUT/$mark"
    printf 'hpc-ci: %s did not end within %s s\n' "$what" "$limit" >&2
    hpc_ci_stop "$child"
  ) &
  dog=$!
  trap 'hpc_ci_interrupted=1; hpc_ci_stop "$child"' TERM INT
  wait "$child"
  code=$?
  if [ -n "$hpc_ci_interrupted" ]; then wait "$child" 2>/dev/null; fi
  trap - TERM INT
  kill -TERM "$dog" 2>/dev/null
  wait "$dog" 2>/dev/null
  return "$code"
}

hpc_ci_profiles() { # sets $hpc_ci_folder: where processes on this node write profiles
  hpc_ci_folder=$HPC_CI_OUT/profiles
  [ -z "${HPC_CI_NODE:-}" ] || hpc_ci_folder=$("$HPC_CI_NODE" profiles)
}

hpc_ci_once() { # PART COMMAND...: `before`
  local part=$1 code
  shift
  hpc_ci_profiles
  LLVM_PROFILE_FILE=$hpc_ci_folder/$part.%h.%p.profraw "$@"
  code=$?
  [ "$code" = 0 ] || printf '%s' "$part" >"$HPC_CI_OUT/failed-part"
  return "$code"
}

hpc_ci_after() { # COMMAND...: `after`, whose failure fails a step that had passed
  local code
  (
    hpc_ci_in_step
    hpc_ci_profiles
    LLVM_PROFILE_FILE=$hpc_ci_folder/after.%h.%p.profraw exec "$@"
  )
  code=$?
  if [ "$code" != 0 ] && [ "$hpc_ci_code" = 0 ]; then
    hpc_ci_code=$code
    hpc_ci_failed_part=after
  fi
}

# What srun says when it does not reach the controller, as it must before it starts anything.
hpc_ci_out_of_reach='Unable to contact slurm controller|Unable to confirm allocation|Unable to create step.*(timed out|Connection refused)'

hpc_ci_count_ranks() { # sets $hpc_ci_begun, how many ranks have begun
  local -a notes=("$HPC_CI_OUT"/ranks/*)
  hpc_ci_begun=${#notes[@]}
  [ -e "${notes[0]}" ] || hpc_ci_begun=0
}

hpc_ci_ranks() { # COMMAND...: while the controller is away, srun is tried again for as long as the step has time
  local before code pause=2
  while :; do
    hpc_ci_count_ranks
    before=$hpc_ci_begun
    "${hpc_ci_launch[@]}" "$@"
    code=$?
    [ "$code" != 0 ] && [ "$hpc_ci_launcher" = srun ] || break
    hpc_ci_count_ranks
    [ "$hpc_ci_begun" = "$before" ] && tail -n 5 "$hpc_ci_talk" 2>/dev/null | grep -qE "$hpc_ci_out_of_reach" || break
    echo "srun could not reach Slurm's controller, and no rank began" >"$HPC_CI_OUT/out-of-reach"
    printf 'hpc-ci: the controller is out of reach; trying again in %s s\n' "$pause" >&2
    sleep "$pause"
    pause=$((pause * 2 > 30 ? 30 : pause * 2))
  done
  [ ! -e "$HPC_CI_OUT/out-of-reach" ] || rm -f "$HPC_CI_OUT/out-of-reach"
  return "$code"
}

hpc_ci_harness() { # COMMAND...: it starts MPI by itself, with the launch prefix at hand, and launchers of ours before those of PATH
  local word prefix=
  for word in "${hpc_ci_launch[@]}"; do printf -v word '%q' "$word"; prefix+="$word "; done
  hpc_ci_profiles
  mkdir -p "$HPC_CI_OUT/launches"
  : >"$HPC_CI_OUT/launches/beside"
  export HPC_CI_WRAPPER=$HPC_CI_STEP_DIR/rank.sh HPC_CI_NOTE=$HPC_CI_OUT/launches/beside HPC_CI_LIVE_PROFILE=$hpc_ci_folder/once
  hpc_ci_add_launchers "$hpc_ci_launchers"
  if [ -n "$hpc_ci_preload" ]; then
    export LD_PRELOAD=$hpc_ci_preload${LD_PRELOAD:+:$LD_PRELOAD} ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
  fi
  HPC_CI_LAUNCH=${prefix% } LLVM_PROFILE_FILE=$hpc_ci_folder/once.$hpc_ci_pattern "$@"
}

hpc_ci_repeat() { # NAME COUNT COMMAND...: launches one after the other, the output of each in a file of its own
  local name=$1 count=$2 number code=0 file
  shift 2
  for ((number = 1; number <= count && code == 0; number++)); do
    printf -v file '%s/%s-%03d.log' "$HPC_CI_OUT" "$name" "$number"
    hpc_ci_talk=$file
    "$@" >"$file" 2>&1
    code=$?
    printf -- '--- %s %d of %d\n' "$name" "$number" "$count"
    cat "$file"
  done
  return "$code"
}

hpc_ci_libraries() { # FILE: sets $hpc_ci_found to what the loader says of the libraries of a program
  local magic loader
  hpc_ci_found=
  magic=$(head -c 4 -- "$1" 2>/dev/null | tr -d '\0')
  [ "$magic" = $'\x7fELF' ] || return 0
  # The loader itself: ldd is a script that starts it five times.
  for loader in /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 /lib64/ld64.so.2; do
    [ ! -x "$loader" ] || hpc_ci_found=$("$loader" --list "$1" 2>/dev/null) && [ -n "$hpc_ci_found" ] && return
  done
  hpc_ci_found=$(ldd "$1" 2>/dev/null)
}

hpc_ci_hash_libraries() { # notes the sha256 of libraries that no step before noted for this node
  local known=$hpc_ci_run_nodes/$hpc_ci_host/libraries path text= hashes
  local -a new=()
  [ ${#hpc_ci_loaded[@]} = 0 ] || IFS= read -r -d '' text 2>/dev/null <"$known"
  for path in "${hpc_ci_loaded[@]}"; do
    [[ $text == *"  $path"$'\n'* ]] || new+=("$path")
  done
  [ ${#new[@]} != 0 ] || return 0
  # Accelerators come with gigabytes of them. What takes too long is noted as such, or each step would try again.
  hashes=$(timeout 20 sha256sum -- "${new[@]}" 2>/dev/null)$'\n'
  for path in "${new[@]}"; do
    [[ $hashes == *"  $path"$'\n'* ]] || hashes+="-  $path"$'\n'
  done
  printf '%s' "$hashes" >>"$known"
} 2>/dev/null

hpc_ci_find_mpi() { # WORD...: sets $hpc_ci_mpi to openmpi, mpich or nothing, by the first program among these words that is linked with MPI
  local word looks=0
  hpc_ci_mpi= hpc_ci_library= hpc_ci_blas= hpc_ci_loaded=()
  for word in "$@"; do
    hpc_ci_try_program "$word"
    [ -z "$hpc_ci_mpi" ] && [ "$looks" -lt 8 ] || return 0
  done
}

hpc_ci_is_tool() { # WORD: whether it is of no interest which libraries this loads
  case ${1##*/} in
    -*|*=*|.|''|[|env|time|exec|nice|timeout|stdbuf|taskset|numactl|bash|sh|dash|cd|echo|printf|test|true|false|sleep|\
    set|export|source|if|then|else|fi|for|do|done|while|case|esac|in) return 0 ;;
  esac
  return 1
}

hpc_ci_try_program() { # WORD: looks at what it names, and at the programs that it names if that is a script
  local file text word words=0 IFS=$' \t\n'
  hpc_ci_is_tool "$1" && return
  file=$(type -P -- "$1") || return 0
  looks=$((looks + 1))
  case ${file##*/} in
    python|python[0-9]*)
      file=$("$file" -c 'import importlib.util as u, glob, os
s = u.find_spec("mpi4py")
print((glob.glob(os.path.join(os.path.dirname(s.origin), "MPI*.so")) or [""])[0] if s else "")' 2>/dev/null)
      [ -z "$file" ] || hpc_ci_look_at "$file"
      return ;;
  esac
  LC_ALL=C IFS= read -r -d '' -n 65536 text 2>/dev/null <"$file"
  case $text in
    $'\x7fELF'*) hpc_ci_look_at "$file" ;;
    '#!'*python*) hpc_ci_try_program python3 ;;
    '#!'*)
      [ "${2:-}" != inner ] || return 0
      set -f
      for word in ${text//[;&|()\{\}<>\`\"\']/ }; do
        words=$((words + 1))
        [ -z "$hpc_ci_mpi" ] && [ "$looks" -lt 8 ] && [ "$words" -le 2000 ] || break
        case $word in
          */*) [ -f "$word" ] && [ -x "$word" ] || continue ;;
          *) [ "$words" -le 60 ] || continue ;;
        esac
        hpc_ci_try_program "$word" inner
      done
      set +f ;;
  esac
}

hpc_ci_look_at() { # FILE: notes which libraries a program loads
  local file=$1 libraries name arrow path
  local -a loaded=()
  hpc_ci_libraries "$file"
  libraries=$hpc_ci_found
  case $libraries in
    *libopen-pal.so*|*libopen-rte.so*|*libmpi.so.40*) hpc_ci_mpi=openmpi ;;
    *libmpich.so*|*libmpi.so.12*|*libmpi_cray*|*libmpi_gnu*|*libmpi_intel*|*libmpi_nvidia*|*libmpi_amd*) hpc_ci_mpi=mpich ;;
  esac
  while read -r name arrow path _; do
    case $arrow$path in
      '=>/'*) loaded+=("$path") ;;
      *) case $name in /*) loaded+=("$name") ;; esac ;;
    esac
    case $name in
      libopenblas*.so*|libmkl_rt.so*|libmkl_core.so*|libblis*.so*|libsci_*.so*|libessl*.so*|libarmpl*.so*|libnvpl_blas*.so*|libblas.so*)
        hpc_ci_blas=$name ;;
      libmpi.so*|libmpich.so*|libmpi_cray.so*|libmpi_gnu*.so*|libmpi_intel*.so*|libmpi_nvidia*.so*|libmpi_amd*.so*) hpc_ci_library=$path ;;
    esac
  done <<<"$libraries"
  # The first program that is named stands for the step, unless one with MPI comes later.
  [ "${#hpc_ci_loaded[@]}" != 0 ] && [ -z "$hpc_ci_mpi" ] || hpc_ci_loaded=("${loaded[@]}")
  case $libraries in *libpmix.so*) hpc_ci_has_pmix=1 ;; esac
  # Every Slurm lists cray_shasta, but only Cray's own MPICH speaks it.
  case $libraries in *libmpi_cray*|*libmpi_gnu*|*libmpi_intel*|*libmpi_nvidia*|*libmpi_amd*) hpc_ci_cray=1 ;; esac
}

hpc_ci_choose_pmi() { # sets the array hpc_ci_mpi_option
  local plugins wanted=$hpc_ci_pmi
  hpc_ci_mpi_option=()
  type -P srun >/dev/null || hpc_ci_refuse "\`srun\` is not in the PATH that the set-up left: $PATH"
  if [ "$wanted" = auto ]; then
    [ -n "$hpc_ci_mpi" ] || return 0
    plugins=$(srun --mpi=list 2>&1)
    case "$hpc_ci_mpi${hpc_ci_cray:+-cray} $plugins" in
      openmpi*pmix*) wanted=pmix ;;
      openmpi*) hpc_ci_refuse "the program is linked with Open MPI, and this Slurm has no PMIx: set \`launcher = \"mpiexec\"\`" ;;
      mpich-cray*cray_shasta*) wanted=cray_shasta ;;
      mpich*pmi2*) wanted=pmi2 ;;
      mpich*) hpc_ci_refuse "the program is linked with MPICH, and this Slurm has no pmi2: set \`launcher = \"mpiexec\"\`" ;;
    esac
  elif [ "$hpc_ci_ranks" -gt 1 ]; then
    # MPICH that finds no PMI server runs each rank as a world of its own and calls that success.
    case "$hpc_ci_mpi${hpc_ci_cray:+-cray} $wanted ${hpc_ci_has_pmix:-}" in
      'mpich none '*|'mpich pmix '|'mpich cray_shasta '*) hpc_ci_refuse "the program is linked with MPICH, which does not speak \`pmi = \"$wanted\"\`: each rank would run alone; set \`pmi = \"pmi2\"\` or leave it at auto" ;;
      'openmpi none '*|'openmpi pmi2 '*|'openmpi cray_shasta '*)
        ompi_info --parsable 2>/dev/null | grep -q '^mca:pmix:s2' ||
          hpc_ci_refuse "the program is linked with Open MPI, which does not speak \`pmi = \"$wanted\"\` here; set \`pmi = \"pmix\"\` or leave it at auto" ;;
    esac
  fi
  [ "$wanted" = auto ] || hpc_ci_mpi_option=("--mpi=$wanted") hpc_ci_manager=$wanted
}

hpc_ci_choose_mpiexec() { # PER_NODE SHARED: sets the array hpc_ci_mpiexec, by the program's MPI
  local per_node=$1 shared=$2 name flavour=
  local -a names=()
  case $hpc_ci_mpi in
    openmpi) names=(mpiexec mpiexec.openmpi mpirun.openmpi) ;;
    mpich) names=(mpiexec mpiexec.hydra mpiexec.mpich) ;;
    *) names=(mpiexec mpirun) ;;
  esac
  if [ -n "${MPIEXEC:-}" ]; then
    read -r -a hpc_ci_mpiexec <<<"$MPIEXEC"
    names=("${hpc_ci_mpiexec[0]}")
  fi
  for name in "${names[@]}"; do
    type -P -- "$name" >/dev/null || continue
    case $("$name" --version 2>&1) in
      *'Open MPI'*|*OpenRTE*|*'PRTE'*) flavour=openmpi ;;
      *HYDRA*|*Hydra*|*'Intel(R) MPI'*|*MPICH*) flavour=mpich ;;
      *) flavour=other ;;
    esac
    [ -z "$hpc_ci_mpi" ] || [ "$flavour" = other ] || [ "$flavour" = "$hpc_ci_mpi" ] || { flavour="not:$flavour"; continue; }
    [ -n "${MPIEXEC:-}" ] || hpc_ci_mpiexec=("$name")
    break
  done
  if [ -z "$flavour$hpc_ci_mpi" ] && [ "$hpc_ci_ranks" = 1 ]; then
    hpc_ci_mpiexec=()
    return 0
  fi
  case $flavour in openmpi|mpich) hpc_ci_manager=$flavour ;; esac
  case $flavour in
    '') hpc_ci_refuse "no mpiexec in the environment of the step (looked for: ${names[*]}); load a module or set MPIEXEC" ;;
    # Ranks under the other MPI's mpiexec would each run alone and pass.
    not:*) hpc_ci_refuse "the program is linked with $hpc_ci_mpi, and \`${names[0]}\` belongs to ${flavour#not:}; set MPIEXEC to the right one" ;;
    openmpi)
      hpc_ci_mpiexec+=(--oversubscribe)
      [ "$(id -u)" != 0 ] || hpc_ci_mpiexec+=(--allow-run-as-root)
      # Every mpiexec binds from the first core on: steps side by side would share it.
      [ "$shared" = 0 ] || hpc_ci_mpiexec+=(--bind-to none)
      [ "$per_node" = 0 ] || hpc_ci_mpiexec+=(--map-by "ppr:$per_node:node") ;;
    mpich) [ "$per_node" = 0 ] || hpc_ci_mpiexec+=(-ppn "$per_node") ;;
  esac
  hpc_ci_mpiexec+=(-n "$hpc_ci_ranks")
}
