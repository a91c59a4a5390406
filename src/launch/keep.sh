: >"$HPC_CI_OUT/.keep-begun" && hpc_ci_cwd=$PWD

hpc_ci_keep() { # copies what the step is to keep, while nothing that follows it has touched the tree
  timeout -k 5 "$((hpc_ci_keep_time + 5))" "$hpc_ci_keeper" node-keep --start "$HPC_CI_OUT" --step-dir "$HPC_CI_STEP_DIR" \
    --cwd "$hpc_ci_cwd" --tree "$hpc_ci_tree" --seconds "$hpc_ci_keep_time" "${hpc_ci_keep_words[@]}" 2>>"$HPC_CI_OUT/keep.log"
}
