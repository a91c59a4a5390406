# What it says of itself stands in files of $hpc_ci_folder.
hpc_ci_refuse() { # MESSAGE: the environment cannot be set up
  printf '%s' "$1" >"$hpc_ci_folder/set-up-refused"
  exit 125
}
hpc_ci_at() { printf '%s' "${hpc_ci_text%%$'\n'*}" >"$hpc_ci_folder/set-up-line"; } # notes which command comes next
