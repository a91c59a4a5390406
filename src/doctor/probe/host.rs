//! This machine: limits of the login, cron.

use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::{ask, last_line};
use crate::doctor::facts::{Host, Subject};

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

pub(super) async fn look(subject: &Subject) -> Host {
    let (no_cron, no_scrontab) =
        tokio::join!(table(subject, "crontab"), table(subject, "scrontab"));
    let groups = Groups::own();
    Host {
        memory: groups.least(&["memory.max"], &["memory.limit_in_bytes"], "memory"),
        cpus: groups.processors(),
        tasks: groups.least(&["pids.max"], &["pids.max"], "pids"),
        processes: limit(Resource::RLIMIT_NPROC),
        files: limit(Resource::RLIMIT_NOFILE),
        no_cron,
        no_scrontab,
    }
}

/// Returns why this user cannot have a table of `crontab` or `scrontab`. That there is none yet is said too, and fine.
async fn table(subject: &Subject, program: &str) -> Option<String> {
    let Ok(output) = ask(subject, program, &["-l"]).await else {
        return Some(format!("`{program}` is not installed"));
    };
    let said = output.stderr_text();
    let usable = output.status.success() || said.contains("no crontab for");
    (!usable).then(|| format!("`{program}`: {}", last_line(&said)))
}

fn limit(resource: Resource) -> Option<u64> {
    let (soft, _) = getrlimit(resource).ok()?;
    (soft != nix::libc::RLIM_INFINITY).then_some(soft)
}

/// The control groups of this process, from its own up to the root.
struct Groups {
    /// Of version 2.
    unified: Vec<PathBuf>,
    /// Of version 1: the controller with its folders.
    legacy: Vec<(String, Vec<PathBuf>)>,
}

impl Groups {
    fn own() -> Self {
        Self::of(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
    }

    /// Reads lines such as `0::/user.slice` and `4:cpu,cpuacct:/user`.
    fn of(text: &str) -> Self {
        let mut groups = Self {
            unified: Vec::new(),
            legacy: Vec::new(),
        };
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                groups.unified = folders(Path::new(CGROUPS), path);
                continue;
            }
            let root = Path::new(CGROUPS).join(controllers);
            for controller in controllers.split(',') {
                groups
                    .legacy
                    .push((controller.to_owned(), folders(&root, path)));
            }
        }
        groups
    }

    /// The least of what the groups from here up allow; each version names the file in its own way.
    fn least(&self, unified: &[&str], legacy: &[&str], controller: &str) -> Option<u64> {
        // Version 1 writes "no limit" as the largest multiple of a page.
        const NONE: u64 = 1 << 62;
        let read = |dir: &PathBuf, name: &&str| {
            let text = std::fs::read_to_string(dir.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let of_unified = self
            .unified
            .iter()
            .flat_map(|dir| unified.iter().filter_map(move |name| read(dir, name)));
        let of_legacy = self.legacy(controller).iter();
        let of_legacy =
            of_legacy.flat_map(|dir| legacy.iter().filter_map(move |name| read(dir, name)));
        of_unified
            .chain(of_legacy)
            .min()
            .filter(|least| *least < NONE)
    }

    fn legacy(&self, controller: &str) -> &[PathBuf] {
        let found = self.legacy.iter().find(|(name, _)| name == controller);
        found.map_or(&[], |(_, dirs)| dirs)
    }

    /// Processors in hundredths.
    fn processors(&self) -> Option<u64> {
        let number = |path: PathBuf| {
            std::fs::read_to_string(path)
                .ok()?
                .trim()
                .parse::<i64>()
                .ok()
        };
        let of_unified = self.unified.iter().filter_map(|dir| {
            let text = std::fs::read_to_string(dir.join("cpu.max")).ok()?;
            let (quota, period) = text.trim().split_once(' ')?;
            share(quota.parse().ok()?, period.parse().ok()?)
        });
        let of_legacy = self.legacy("cpu").iter().filter_map(|dir| {
            share(
                number(dir.join("cpu.cfs_quota_us"))?,
                number(dir.join("cpu.cfs_period_us"))?,
            )
        });
        of_unified.chain(of_legacy).min()
    }
}

fn share(quota: i64, period: i64) -> Option<u64> {
    let (quota, period) = (u64::try_from(quota).ok()?, u64::try_from(period).ok()?);
    quota.checked_mul(100)?.checked_div(period)
}

fn folders(root: &Path, path: &str) -> Vec<PathBuf> {
    let own = root.join(path);
    let up = own.ancestors().take_while(|dir| dir.starts_with(root));
    up.map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_followed_up_to_the_root() {
        let groups =
            Groups::of("4:cpu,cpuacct:/user/1\n0::/user.slice/user-1000.slice\nnonsense\n");
        let shown = |dirs: &[PathBuf]| {
            let names = dirs.iter().map(|dir| dir.display().to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            shown(&groups.unified),
            "/sys/fs/cgroup/user.slice/user-1000.slice /sys/fs/cgroup/user.slice /sys/fs/cgroup"
        );
        assert_eq!(
            shown(groups.legacy("cpuacct")),
            "/sys/fs/cgroup/cpu,cpuacct/user/1 /sys/fs/cgroup/cpu,cpuacct/user /sys/fs/cgroup/cpu,cpuacct"
        );
        assert!(groups.legacy("memory").is_empty());
    }

    #[test]
    fn shares_are_hundredths_and_no_limit_is_none() {
        for (quota, period, expected) in [
            (150_000, 100_000, Some(150)),
            (-1, 100_000, None),
            (1, 0, None),
            (i64::MAX, 1, None),
        ] {
            assert_eq!(share(quota, period), expected, "{quota} {period}");
        }
    }
}
