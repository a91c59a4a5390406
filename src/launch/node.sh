host=$(uname -n)
choice=$HPC_CI_OUT/storage/$host

try_scratch() { # prints `scratch FOLDER`, or `shared` and the reason
  base= unset=
  expand
  if [ -n "$unset" ]; then echo "shared \`$unset\` is not set on this node"; return; fi
  case $base in
    *%*) echo "shared $base holds a %, which the profile runtime would expand"; return ;;
    /*) ;;
    *) echo "shared \`$base\` is not an absolute path"; return ;;
  esac
  # Others may write there too: the name cannot be guessed, and the folder is its owner's alone.
  folder=$(mktemp -d "$base/$name.${SLURM_RESTART_COUNT:-0}.XXXXXXXXXX" 2>/dev/null)
  if [ -z "$folder" ]; then echo "shared no folder can be made in $base"; return; fi
  free=$(df -Pk "$folder" 2>/dev/null | awk 'NR == 2 {print $4}')
  local_ranks=${OMPI_COMM_WORLD_LOCAL_SIZE:-${MPI_LOCALNRANKS:-$(((ranks + ${SLURM_STEP_NUM_NODES:-1} - 1) / ${SLURM_STEP_NUM_NODES:-1}))}}
  wanted=$((floor_kib + rank_kib * local_ranks))
  if [ "${free:-0}" -lt "$wanted" ]; then
    rmdir "$folder"
    echo "shared $base has room for ${free:-0} KiB, and $wanted are wanted"
  elif ! timeout 10 "$helper" --version >/dev/null 2>&1; then
    rmdir "$folder"
    echo "shared hpc-ci does not run on this node"
  else
    echo "scratch $folder"
  fi
}

profiles() { # [PID]: prints the folder; the first process of a node looks for one, the others wait for it
  if mkdir "$choice" 2>/dev/null; then
    try_scratch >"$choice/part"
    mv -f "$choice/part" "$choice/use"
  fi
  tries=0
  while [ ! -e "$choice/use" ] && [ "$tries" -lt 150 ]; do sleep 0.1; tries=$((tries + 1)); done
  chosen
  [ -z "$folder" ] || [ -z "${1:-}" ] || : >"$folder/.rank.$1"
  # Without a folder of this node's own all is as it would be without scratch.
  printf '%s' "${folder:-$HPC_CI_OUT/profiles}"
}

chosen() { # sets folder, to nothing where there is none
  kind= folder=
  if [ -f "$choice/use" ]; then
    folder=$(head -c 4096 "$choice/use" | tr -d '\0')
    kind=${folder%% *} folder=${folder#* }
  fi
  { [ "$kind" = scratch ] && [ -d "$folder" ]; } || folder=
}

leave() { # PID: reduces, if no other rank of this node is left
  chosen
  [ -n "$folder" ] || exit 0
  rm -f "$folder/.rank.$1"
  for mark in "$folder"/.rank.*; do
    ! kill -0 "${mark##*.}" 2>/dev/null || exit 0
  done
  reduce
}

reduce() { # leaves the sum of this node's profiles on shared storage, or else the profiles
  chosen
  [ -n "$folder" ] || exit 0
  if ! "$helper" node-reduce --host "$host" --build "$build" --index "$index" --shared "$HPC_CI_OUT/profiles" "$folder"; then
    # Nothing is left behind on a node, and nothing that its ranks wrote is thrown away.
    cp -p "$folder"/*.profraw "$HPC_CI_OUT/profiles/"
    rm -rf "$folder"
  fi
  : >"$choice/done"
}

"$@"
