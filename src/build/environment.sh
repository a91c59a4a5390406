# The environment of the project. Modules and set-up lines run in a shell of their own, of which no more is taken on than its
# variables and the limits that it raised: its options, traps, functions, aliases and its `exit` have no hold on this script.

hpc_ci_set_up() { # FOLDER: runs the set-up and leaves its environment there; returns non-zero if it did not reach its end
  local folder=$1 head cat
  [ -n "$hpc_ci_set_up_text" ] || return 0
  rm -f "$folder/environment" "$folder"/set-up-{refused,line,code}
  cat=$(type -P cat)
  printf -v head 'hpc_ci_folder=%q hpc_ci_cat=%q\n' "$folder" "$cat"
  "$BASH" --noprofile --norc -c "$head$hpc_ci_set_up_text" bash >"$folder/set-up.log" 2>&1 </dev/null
  printf '%s' "$?" >"$folder/set-up-code"
  [ "$(<"$folder/set-up-code")" = 0 ] && [ -s "$folder/environment" ]
}

hpc_ci_set_up_why() { # FOLDER: sets $hpc_ci_why to why the set-up did not reach its end, with the last lines that it printed
  local folder=$1 code= line= said=
  local -a log=()
  # None if it was stopped.
  [ ! -e "$folder/set-up-code" ] || code=$(<"$folder/set-up-code")
  if [ -s "$folder/set-up-refused" ]; then
    IFS= read -r -d '' hpc_ci_why <"$folder/set-up-refused"
  else
    [ ! -e "$folder/set-up-line" ] || IFS= read -r -d '' line <"$folder/set-up-line"
    line=${line:+ in its line \`$line\`}
    if [ -n "$code" ]; then
      hpc_ci_why="the set-up ended$line with exit code $code, before it was complete: \`exit\` and \`exec\` end it"
    else
      hpc_ci_why="the set-up was stopped$line"
    fi
  fi
  mapfile -t log < <(tail -n 5 "$folder/set-up.log" 2>/dev/null)
  [ ${#log[@]} = 0 ] || printf -v said '; %s' "${log[@]}"
  [ -z "$said" ] || hpc_ci_why+=". It printed: ${said#; }"
}

hpc_ci_enter() { # FOLDER: takes the environment of the project on; where this script goes on afterwards, in a subshell only
  local hpc_ci_pair hpc_ci_name hpc_ci_limits=
  local -A hpc_ci_kept=()
  if [ -n "$hpc_ci_set_up_text" ]; then
    while IFS= read -r -d '' hpc_ci_pair || { hpc_ci_limits=$hpc_ci_pair; false; }; do
      hpc_ci_name=${hpc_ci_pair%%=*}
      hpc_ci_is_taken "$hpc_ci_name" || continue
      hpc_ci_kept[$hpc_ci_name]=1
      export "$hpc_ci_pair"
    done <"$1/environment"
    while IFS= read -r hpc_ci_name; do
      [ -n "${hpc_ci_kept[$hpc_ci_name]:-}" ] || ! hpc_ci_is_taken "$hpc_ci_name" || unset "$hpc_ci_name"
    done < <(compgen -e)
    hpc_ci_raise_limits "$hpc_ci_limits"
  fi
  hpc_ci_own_variables
}

hpc_ci_add_launchers() { # FOLDER: puts the script of this folder before each launcher of MPI that PATH leads to
  local name names= folder
  local -a found=()
  for name in mpiexec mpirun srun mpiexec.hydra mpiexec.openmpi mpiexec.mpich mpirun.openmpi mpirun.mpich orterun prterun prun; do
    if type -P "$name" >/dev/null; then found+=("$name") names+=${names:+-}$name; fi
  done
  [ -n "$names" ] && [ -r "$1/launcher.sh" ] || return 0
  folder=$1/$names
  if [ ! -d "$folder" ]; then
    mkdir -p -m 755 "$folder.$$" && for name in "${found[@]}"; do cp "$1/launcher.sh" "$folder.$$/$name" && chmod 755 "$folder.$$/$name"; done
    mv -T "$folder.$$" "$folder" || rm -rf "$folder.$$"
  fi 2>/dev/null
  for name in MPIEXEC MPIRUN MPIEXEC_EXECUTABLE; do
    case ${!name:-} in
      # One that PATH leads to anyway.
      /*) [ "${!name}" != "$(type -P "${!name##*/}")" ] || [ ! -x "$folder/${!name##*/}" ] || export "$name=$folder/${!name##*/}" ;;
    esac
  done
  [ ! -d "$folder" ] || export PATH="$folder:$PATH"
}

hpc_ci_is_taken() { # NAME: whether this variable of the set-up is taken on: not those of ours, nor those that change how shells work
  [[ $1 =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || return 1
  case $1 in _|PWD|OLDPWD|SHLVL|HPC_CI_*|hpc_ci_*|@SHELL_VARIABLES@) return 1 ;; esac
}

hpc_ci_raise_limits() { # LIMITS: raises the soft limits of this shell to those of the set-up, as /proc/self/limits tells them
  local line option unit mine theirs now
  IFS= read -r -d '' now </proc/self/limits
  while IFS= read -r line; do
    unit=1024
    case $line in
      'Max stack size '*) option=s ;;
      'Max data size '*) option=d ;;
      'Max core file size '*) option=c ;;
      'Max file size '*) option=f ;;
      'Max locked memory '*) option=l ;;
      'Max address space '*) option=v ;;
      'Max processes '*) option=u unit=1 ;;
      'Max open files '*) option=n unit=1 ;;
      'Max cpu time '*) option=t unit=1 ;;
      *) continue ;;
    esac
    theirs=${line:26} mine=${now#*"${line:0:26}"}
    read -r theirs _ <<<"$theirs"
    read -r mine _ <<<"$mine"
    [ "$theirs" != "$mine" ] && [ "$mine" != unlimited ] || continue
    if [ "$theirs" = unlimited ]; then
      ulimit -S "-$option" unlimited
    elif [ "$theirs" -gt "$mine" ]; then
      ulimit -S "-$option" "$((theirs / unit))"
    fi 2>/dev/null
  done <<<"$1"
}
