mkdir -p "$HPC_CI_OUT/results"

# A step may leave any number of files of any size, and the job must end in time all the same: of each no more is kept than is read of
# it, of all no more than this. What is left out is told in `cut`.
hpc_ci_most_files=10000 hpc_ci_most_seconds=60

# A report is told from one that was there before by what it is, and not by when it was written: clocks of nodes differ. Nothing is
# moved aside either, since other steps may be at work in the same tree.
declare -A hpc_ci_old=()

hpc_ci_prints() { # FILE...: what a write changes, a line for each
  local file
  # Opening makes a network file system ask its server again.
  for file in "$@"; do : <"$file"; done 2>/dev/null
  printf '%s\0' "$@" | xargs -0 stat -L -c '%d %i %s|%y|%z|%n' -- 2>/dev/null
}

hpc_ci_look() { # PATTERN: sets the arrays hpc_ci_bases, where reports are looked for, and hpc_ci_found, those that match here
  local IFS= file
  hpc_ci_bases=("$PWD") hpc_ci_found=()
  case $1 in /*) ;; *) hpc_ci_bases+=("$HPC_CI_STEP_DIR") ;; esac
  for file in $1; do [ ! -f "$file" ] || hpc_ci_found+=("$file"); done
}

# PATTERN: remembers the files that match before the step, or a launch of it, begins
hpc_ci_remember_results() {
  local id written changed file clock young tries=0 begin=$SECONDS
  while :; do
    hpc_ci_old=() clock= young=
    while IFS='|' read -r id written changed file; do
      if [ -z "$clock" ]; then clock=$changed; continue; fi
      hpc_ci_old["$id|$written|$changed"]=1
      [ "$changed" != "$clock" ] || young=1
    done < <(
      shopt -s nullglob globstar
      files=()
      hpc_ci_look "$1"
      for base in "${hpc_ci_bases[@]}"; do
        cd -- "$base" || continue
        hpc_ci_look "$1"
        for file in "${hpc_ci_found[@]}"; do
          case $file in /*) files+=("$file") ;; *) files+=("$base/$file") ;; esac
        done
      done
      [ ${#files[@]} != 0 ] || exit 0
      echo >"$HPC_CI_OUT/results/clock"
      hpc_ci_prints "$HPC_CI_OUT/results/clock" "${files[@]}"
    )
    # File systems count milliseconds, or seconds: what is written again before theirs has moved on would look untouched.
    [ -n "$young" ] && [ "$tries" -lt 40 ] && [ $((SECONDS - begin)) -lt 5 ] || break
    tries=$((tries + 1))
    sleep 0.05
  done
}

# PATTERN [FOLDER]: copies the reports that the step has written; it looks where the step ran, then in the folder of its own
hpc_ci_keep_results() (
  shopt -s nullglob globstar
  number=0 bytes=0 begin=$SECONDS kept=$HPC_CI_OUT/results${2:+/$2}
  mkdir -p "$kept"
  hpc_ci_look "$1"
  for base in "${hpc_ci_bases[@]}"; do
    cd -- "$base" || continue
    hpc_ci_look "$1"
    declare -A new=()
    if [ ${#hpc_ci_found[@]} != 0 ] && [ ${#hpc_ci_old[@]} != 0 ]; then
      while IFS='|' read -r id written changed file; do
        [ -n "${hpc_ci_old["$id|$written|$changed"]:-}" ] || new["/$file"]=1
      done < <(hpc_ci_prints "${hpc_ci_found[@]}")
    fi
    for file in "${hpc_ci_found[@]}"; do
      if [ ${#hpc_ci_old[@]} != 0 ] && [ -z "${new["/$file"]:-}" ]; then
        printf '%s\n' "$file" >>"$kept/stale"
        continue
      fi
      size=$(stat -L -c %s -- "$file") || continue
      [ "$size" -le "$hpc_ci_most_bytes" ] || size=$((hpc_ci_most_bytes + 1))
      why=
      if [ "$number" -ge "$hpc_ci_most_files" ]; then
        why="there are ${#hpc_ci_found[@]}, and $hpc_ci_most_files are read at most"
      elif [ $((bytes + size)) -gt $((16 * hpc_ci_most_bytes)) ]; then
        why="together they have more than $((16 * hpc_ci_most_bytes)) bytes"
      elif [ $((SECONDS - begin)) -gt "$hpc_ci_most_seconds" ]; then
        why="to copy them takes more than $hpc_ci_most_seconds s"
      fi
      if [ -n "$why" ]; then
        printf '%s\n' "$why" >"$kept/cut"
        break
      fi
      bytes=$((bytes + size)) number=$((number + 1))
      head -c "$size" -- "$file" >"$kept/$number.report" && printf '%s' "$file" >"$kept/$number.name"
    done
    [ "$number" = 0 ] || break
  done
)

hpc_ci_reported() { # PATTERN COMMAND...: one launch of hpc_ci_repeat, whose reports are kept apart from those of the others
  local pattern=$1 code
  shift
  hpc_ci_remember_results "$pattern"
  "$@"
  code=$?
  hpc_ci_keep_results "$pattern" "$number"
  return "$code"
}
