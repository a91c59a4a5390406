hpc_ci_text=
hpc_ci_add() { # LINE: goes on with the command that is not complete yet, or begins one
  if [ -n "$hpc_ci_text" ]; then
    hpc_ci_text+=$'\n'$1
  elif [[ $1 =~ ^[[:space:]]*(#|$) ]]; then
    return
  else
    hpc_ci_text=$1
  fi
}
hpc_ci_whole() { # whether the lines so far are a complete command: whether they can be the body of a function
  [ -n "$hpc_ci_text" ] && eval "hpc_ci_try() {
$hpc_ci_text
}"
} 2>/dev/null
hpc_ci_judge() { # CODE: what the command returned
  local code=$1 first=${hpc_ci_text%%$'\n'*}
  hpc_ci_text=
  [ "$code" = 0 ] ||
    hpc_ci_refuse "the set-up line \`$first\` returned $code; where that is no failure, write \`|| true\` behind it"
}
