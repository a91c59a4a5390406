mkdir -p "$HPC_CI_OUT/results" && : >"$HPC_CI_OUT/results/begun"

hpc_ci_keep_results() ( # PATTERN: copies the reports written since the step began; it looks where the step ran, then in its own folder
  shopt -s nullglob globstar
  IFS= number=0 kept=$HPC_CI_OUT/results
  for base in "$PWD" "$HPC_CI_OUT"; do
    cd -- "$base" || continue
    for file in $1; do
      [ -f "$file" ] || continue
      if [ "$kept/begun" -nt "$file" ]; then
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
