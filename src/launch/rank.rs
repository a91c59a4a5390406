//! The per-rank wrapper: plain `sh`, started by the launcher once for each rank.

use shell_words::quote;

use super::{Facts, Keeping, Kind};

/// Returns the text of the wrapper.
///
/// It learns its rank from the launcher (each has its own variable, and inside a job `SLURM_PROCID` is 0 for everyone that
/// `mpiexec` started), gives every process below it a profile of its own, and notes how the rank ended: a profile alone
/// cannot tell a rank that died from one that never came.
///
/// `launcher` says whose variables count, `ranks` how many the step asks for, `world` where [`WORLD`](super::WORLD) stands.
#[must_use]
pub fn wrapper(
    launcher: Kind,
    ranks: u32,
    keeping: &Keeping,
    facts: &Facts,
    world: Option<&str>,
) -> String {
    let (rank, size) = match launcher {
        Kind::Srun => (
            "${SLURM_PROCID:-}",
            "${SLURM_STEP_NUM_TASKS:-${SLURM_NTASKS:-}}",
        ),
        // PMIX_RANK comes last: Hydra starts its proxies by srun, which may leave the proxy's own there.
        Kind::Mpiexec => (
            "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-${MV2_COMM_WORLD_RANK:-${PMIX_RANK:-}}}}",
            "${OMPI_COMM_WORLD_SIZE:-${PMI_SIZE:-${MV2_COMM_WORLD_SIZE:-}}}",
        ),
        Kind::None => (
            "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-${PMIX_RANK:-${SLURM_PROCID:-}}}}",
            "",
        ),
    };
    // A serial program may be started without any launcher.
    let alone = if ranks == 1 { "rank=${rank:-0}\n" } else { "" };
    let check_size = if size.is_empty() {
        String::new()
    } else {
        format!(
            r#"size={size}
if [ -n "$size" ] && [ "$size" -ne {ranks} ]; then
  echo "hpc-ci: the launcher started $size ranks, the step asks for {ranks}" >&2
  echo "the launcher started $size ranks, the step asks for {ranks}" >"$HPC_CI_OUT/refused"
  exit 125
fi
"#
        )
    };
    let pattern = keeping.pattern();
    let libraries = super::script::preload(world, keeping);
    let preload = if libraries.is_empty() {
        String::new()
    } else {
        preload(&libraries)
    };
    let describe = describe(facts);
    let binding = if facts.measures { BINDING } else { "" };
    format!(
        r#"#!/bin/sh
# Runs one rank of a step: WRAPPER PROGRAM ARGS...
# Our own tools are found, and load, whatever the environment of the step says.
own() {{ PATH=/usr/bin:/bin:$PATH; unset LD_LIBRARY_PATH LD_PRELOAD; "$@"; }}
now() {{ own date +%s.%N; }}
# A launcher may hide our variables from its ranks.
[ -n "${{HPC_CI_OUT:-}}" ] || exec "$@"
rank={rank}
{alone}{check_size}host=$(own uname -n)
{describe}HPC_CI_RANK=$rank
profiles=$HPC_CI_OUT/profiles
[ -z "${{HPC_CI_NODE:-}}" ] || profiles=$("$HPC_CI_NODE" profiles $$)
LLVM_PROFILE_FILE=$profiles/r${{rank:-x}}.{pattern}
HPC_CI_NOTE=$HPC_CI_OUT/ranks/r${{rank:-x}}.$host.$$
export HPC_CI_RANK HPC_CI_NOTE LLVM_PROFILE_FILE
note=$HPC_CI_NOTE
printf 'start %s %s\n' "$host" "$(now)" >"$note"
[ -z "${{HPC_CI_LAUNCHED:-}}" ] || printf 'launch %s\n' "$HPC_CI_LAUNCHED" >>"$note"
{binding}if [ "${{rank:-0}}" = 0 ] && [ -n "${{SLURM_STEP_ID:-}}" ]; then
  printf '%s.%s\n' "$SLURM_JOB_ID" "$SLURM_STEP_ID" >"$HPC_CI_OUT/srun-step"
fi
stop() {{ # PID: asks it and all below it to end
  for child in $(own cat "/proc/$1"/task/*/children 2>/dev/null); do stop "$child"; done
  kill -TERM "$1" 2>/dev/null
}}
# Slurm sends SIGTERM to this shell alone where it tracks processes by cgroups. It stays to note how the program ended.
trap 'stopped=1; stop $!' TERM INT
{preload}"$@" <&0 &
wait $!
code=$?
if [ -n "${{stopped:-}}" ]; then
  # The signal ended the waiting, not the program; 127 says that both came at once.
  wait $!
  again=$?
  [ "$again" = 127 ] || code=$again
fi
printf 'end %s %s\n' "$code" "$(now)" >>"$note"
# When Slurm ends the job, its script can start nothing any more.
if [ -n "${{stopped:-}}" ] && [ -n "${{HPC_CI_NODE:-}}" ]; then "$HPC_CI_NODE" leave $$; fi
if [ "$code" -gt 128 ] && [ "$code" -lt 160 ]; then
  # The launcher shall see the signal that the program died of.
  trap - TERM INT
  ulimit -c 0 2>/dev/null
  kill "-$((code - 128))" $$
fi
exit "$code"
"#
    )
}

/// The job's script has described its own node.
fn describe(facts: &Facts) -> String {
    let (script, nodes) = (quote(&facts.script), quote(&facts.nodes));
    let of_run = format!("[ -e {nodes}/\"$host\" ] || sh {script} node {nodes} 2>/dev/null\n");
    if !facts.measures {
        return of_run;
    }
    format!(
        "{of_run}[ -e \"$HPC_CI_OUT/nodes/$host\" ] || sh {script} begin \"$HPC_CI_OUT/nodes\" 2>/dev/null\n"
    )
}

/// The processors that the rank may use, of benchmarks: reading them costs some time.
const BINDING: &str = r#"while read -r word value; do
  [ "$word" != Cpus_allowed_list: ] || printf 'cpus %s\n' "$value" >>"$note"
done </proc/self/status
"#;

/// Only the program gets the libraries, not this shell. `AddressSanitizer` wants to be the first library, and works as well behind these.
fn preload(libraries: &str) -> String {
    format!(
        r#"HPC_CI_LIVE_PROFILE=$profiles/r${{rank:-x}}
keep={}
case ":${{LD_PRELOAD:-}}:" in *":$keep:"*) keep=$LD_PRELOAD ;; *) keep=$keep${{LD_PRELOAD:+:$LD_PRELOAD}} ;; esac
ASAN_OPTIONS=${{ASAN_OPTIONS:+$ASAN_OPTIONS:}}verify_asan_link_order=0
export HPC_CI_LIVE_PROFILE ASAN_OPTIONS
LD_PRELOAD=$keep "#,
        quote(libraries)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srun_and_mpiexec_read_their_own_rank() {
        assert!(
            wrapper(Kind::Srun, 4, &Keeping::Nothing, &Facts::default(), None)
                .contains("rank=${SLURM_PROCID:-}\n")
        );
        let mpiexec = wrapper(Kind::Mpiexec, 4, &Keeping::Nothing, &Facts::default(), None);
        assert!(
            !mpiexec.contains("SLURM_PROCID"),
            "it is 0 for every rank below mpiexec"
        );
    }
}
