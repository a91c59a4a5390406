mkdir -p "$HPC_CI_OUT/results" && : >"$HPC_CI_OUT/results/begun"

# PATTERN [FOLDER]: copies the reports written since the step began; it looks where the step ran, then in its own folder
hpc_ci_keep_results() (
  shopt -s nullglob globstar
  IFS= number=0 begun=$HPC_CI_OUT/results/begun kept=$HPC_CI_OUT/results${2:+/$2}
  mkdir -p "$kept"
  for base in "$PWD" "$HPC_CI_OUT"; do
    cd -- "$base" || continue
    for file in $1; do
      [ -f "$file" ] || continue
      if [ "$begun" -nt "$file" ]; then
        printf '%s\n' "$file" >>"$kept/stale"
        continue
      fi
      number=$((number + 1))
      cp -- "$file" "$kept/$number.report" && printf '%s' "$file" >"$kept/$number.name"
    done
    [ "$number" = 0 ] || break
    case $1 in /*) break ;; esac
  done
)

hpc_ci_reported() { # PATTERN COMMAND...: one launch of hpc_ci_repeat, whose reports are kept apart from those of the others
  local pattern=$1 code
  shift
  : >"$HPC_CI_OUT/results/begun"
  "$@"
  code=$?
  hpc_ci_keep_results "$pattern" "$number"
  return "$code"
}
