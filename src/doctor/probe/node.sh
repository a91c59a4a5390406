# Run by bash on a node: DIRECTORY WORD SCRATCH PROGRAM. Each line of output is `name<TAB>value`.
say() { printf '%s\t%s\n' "$1" "$2"; }
first_line() { tr '\t' ' ' | grep -v '^[[:space:]]*$' | head -n 1; }
dir=$1 word=$2 program=$4
say clock "$(date +%s.%N)"
say host "$(uname -n)"
if [ "$(cat "$dir/here" 2>/dev/null)" = "$word" ]; then
  say sees yes
  printf '%s' "$word" >"$dir/there" 2>/dev/null
  if said=$("$program" --version 2>&1); then say program yes; else say program_refused "$(first_line <<<"$said")"; fi
fi
# The setting is expanded as the shell of a step does it; it comes from a trusted file.
eval "scratch=\"$3\""
say scratch "$scratch"
if said=$(mktemp -d -p "$scratch" hpc-ci-doctor-XXXXXX 2>&1); then
  rmdir "$said"
  say scratch_free "$(df -Pk -- "$scratch" 2>/dev/null | awk 'NR == 2 { print $4 }')"
else
  say scratch_refused "$(first_line <<<"$said")"
fi
say end yes
