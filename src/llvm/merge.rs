//! Merges profiles with `llvm-profdata`, so that a bad one is named, left out whole and harms no other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::profile::{Kind, Profile, State};
use super::tools::Tools;
use super::{LlvmError, write};
use crate::process::{self, Command, Output};

/// Lines of the tools' talk that are kept.
const REMARKS_KEPT: usize = 50;

/// What merging needs, and what it leaves beside the merged profile.
pub(super) struct Work<'a> {
    pub(super) tools: &'a [Tools],
    pub(super) environment: &'a [(OsString, OsString)],
    pub(super) dir: &'a Path,
    pub(super) threads: usize,
    /// How many times `llvm-profdata` was called, for names of files.
    pub(super) attempts: u32,
    /// The tools that took part.
    pub(super) used: Vec<Tools>,
    /// What they said beside complaints about whole files.
    pub(super) remarks: Vec<String>,
}

/// What one call of `llvm-profdata merge` did.
enum Attempt {
    /// All files are in the sum.
    Merged(PathBuf),
    /// These files were refused, for these reasons; the others have to be merged again without them, because some of
    /// their counters may be in the sum already.
    Refused(HashMap<PathBuf, String>),
    /// It failed without naming a file.
    Broke(String),
}

impl Work<'_> {
    /// Returns the sum of all profiles that can be used, nothing if none can, and sets the state of each.
    pub(super) async fn merge(
        &mut self,
        profiles: &mut [Profile],
    ) -> Result<Option<PathBuf>, LlvmError> {
        let mut kinds: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
        for (at, profile) in profiles.iter().enumerate() {
            if profile.state == State::Used {
                kinds.entry(profile.kind).or_default().push(at);
            }
        }
        let mut sums = Vec::new();
        let mut unreadable = None;
        for (kind, files) in kinds {
            if let Some(tools) = self.tools.iter().find(|tools| tools.read(kind)) {
                sums.extend(self.sums(tools, profiles, files).await?);
                continue;
            }
            let error = self.no_reader(kind);
            for at in files {
                profiles[at].state = State::Foreign(error.to_string());
            }
            unreadable = Some(error);
        }
        match (sums.len(), unreadable) {
            (0, Some(error)) => Err(error),
            (0, None) => Ok(None),
            (1, _) => Ok(sums.pop()),
            _ => self.sum_of_sums(&sums).await.map(Some),
        }
    }

    fn no_reader(&self, kind: Kind) -> LlvmError {
        LlvmError::NoFittingTools {
            needs: match kind {
                Kind::Raw(version) => format!("these profiles are raw version {version}"),
                Kind::Indexed => "these profiles are indexed".to_owned(),
            },
            wanted: kind.readers().to_owned(),
            found: self.tools.to_vec(),
        }
    }

    /// Merges files of one kind. Usually one sum comes back; more, or none, only where the tool breaks on some files.
    async fn sums(
        &mut self,
        tools: &Tools,
        profiles: &mut [Profile],
        files: Vec<usize>,
    ) -> Result<Vec<PathBuf>, LlvmError> {
        if !self.used.contains(tools) {
            self.used.push(tools.clone());
        }
        let mut sums = Vec::new();
        let mut sets = vec![files];
        while let Some(mut set) = sets.pop() {
            if set.is_empty() {
                continue;
            }
            let paths: Vec<&Path> = set.iter().map(|&at| profiles[at].path.as_path()).collect();
            match self.attempt(tools, &paths).await? {
                Attempt::Merged(sum) => sums.push(sum),
                Attempt::Refused(reasons) => {
                    set.retain(|&at| match reasons.get(&profiles[at].path) {
                        Some(reason) => {
                            profiles[at].state = refused(reason);
                            false
                        }
                        None => true,
                    });
                    sets.push(set);
                }
                Attempt::Broke(reason) => match set.as_slice() {
                    [only] => profiles[*only].state = State::Foreign(reason),
                    set => {
                        let (one, other) = set.split_at(set.len() / 2);
                        sets.extend([one.to_vec(), other.to_vec()]);
                    }
                },
            }
        }
        Ok(sums)
    }

    async fn sum_of_sums(&mut self, sums: &[PathBuf]) -> Result<PathBuf, LlvmError> {
        // Later releases read what earlier ones indexed, not the other way round.
        let newest = self.tools.iter().max_by_key(|tools| tools.version);
        let tools = newest.ok_or(LlvmError::NoTools)?.clone();
        if !self.used.contains(&tools) {
            self.used.push(tools.clone());
        }
        let paths: Vec<&Path> = sums.iter().map(PathBuf::as_path).collect();
        let said = match self.attempt(&tools, &paths).await? {
            Attempt::Merged(sum) => return Ok(sum),
            Attempt::Refused(reasons) => reasons.into_values().next().unwrap_or_default(),
            Attempt::Broke(said) => said,
        };
        Err(LlvmError::Failed {
            what: "merging the profiles of several compilers",
            said,
        })
    }

    async fn attempt(&mut self, tools: &Tools, paths: &[&Path]) -> Result<Attempt, LlvmError> {
        let list = self.dir.join("profiles.list");
        write(&list, &list_of(paths)).await?;
        self.attempts += 1;
        let sum = self.dir.join(format!("sum-{}.profdata", self.attempts));
        let merge = Command::new(&tools.profdata)
            .args(["merge", "-sparse", "-failure-mode=all"])
            .arg(format!("-num-threads={}", self.threads.max(1)))
            .args([
                OsStr::new("-f"),
                list.as_os_str(),
                OsStr::new("-o"),
                sum.as_os_str(),
            ])
            .environment(self.environment.iter().map(|(key, value)| (key, value)));
        let output = merge.output().await?;
        let complaints = Complaints::of(&output.stderr_text(), paths);
        if !complaints.refused.is_empty() {
            return Ok(Attempt::Refused(complaints.refused));
        }
        if !output.status.success() {
            return Ok(Attempt::Broke(last_words(&output)));
        }
        let room = REMARKS_KEPT.saturating_sub(self.remarks.len());
        self.remarks
            .extend(complaints.remarks.into_iter().take(room));
        Ok(Attempt::Merged(sum))
    }
}

/// Returns the list of files as `-f` takes it. The weight in front keeps a comma in a path from being taken for one.
fn list_of(paths: &[&Path]) -> Vec<u8> {
    let line = |path: &&Path| [b"1,", path.as_os_str().as_bytes(), b"\n"].concat();
    paths.iter().flat_map(line).collect()
}

fn refused(reason: &str) -> State {
    if reason.contains("truncated") || reason.contains("not enough space for another header") {
        State::Truncated
    } else {
        State::Foreign(reason.to_owned())
    }
}

/// Returns how a tool ended and what it said last.
pub(super) fn last_words(output: &Output) -> String {
    let said = process::tail(&output.stderr_text(), 3).replace('\n', "; ");
    if said.is_empty() {
        output.status.to_string()
    } else {
        said
    }
}

/// What `llvm-profdata` says of files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Complaints {
    refused: HashMap<PathBuf, String>,
    remarks: Vec<String>,
}

impl Complaints {
    /// Reads lines such as `warning: PATH: REASON`, which refuse a file, and `PATH: FUNCTION: REASON`, which do not.
    fn of(stderr: &str, paths: &[&Path]) -> Self {
        let known: BTreeSet<&Path> = paths.iter().copied().collect();
        let mut complaints = Self::default();
        for line in stderr.lines().filter(|line| !line.trim().is_empty()) {
            let refusal = line
                .strip_prefix("warning: ")
                .or_else(|| line.strip_prefix("error: "))
                .and_then(|text| refusal(text, &known));
            match refusal {
                Some((path, reason)) => {
                    complaints
                        .refused
                        .entry(path.to_owned())
                        .or_insert_with(|| reason.to_owned());
                }
                None => complaints.remarks.push(line.to_owned()),
            }
        }
        complaints
    }
}

/// Splits `PATH: REASON` where a known path ends; both may contain colons.
fn refusal<'t>(text: &'t str, known: &BTreeSet<&'t Path>) -> Option<(&'t Path, &'t str)> {
    let colons = text.match_indices(": ");
    colons
        .map(|(at, colon)| (Path::new(&text[..at]), &text[at + colon.len()..]))
        .find(|(path, _)| known.contains(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 22.1.8 and 16.0.6 said of files that were damaged on purpose.
    #[test]
    fn complaints_name_files_and_reasons() {
        let stderr = "\
/run/c: 1.profraw: main: counter overflow
/run/c: 1.profraw: a.c:f: function basic block count change detected (counter mismatch)
Make sure that all profile data to be merged is generated from the same binary.
warning: /run/text.profraw: truncated profile data
warning: /run/big.profraw: excessively large counter value suggests corrupted profile data: 18446744073709551615
warning: /run/c: 1.profraw: invalid instrumentation profile data (file header is corrupt)
warning: /run/cat.profraw: malformed instrumentation profile data: not enough space for another header
";
        let paths = [
            "/run/c: 1.profraw",
            "/run/text.profraw",
            "/run/big.profraw",
            "/run/cat.profraw",
        ]
        .map(Path::new);
        let complaints = Complaints::of(stderr, &paths);
        let states = paths.map(|path| refused(&complaints.refused[path]));
        let foreign = |reason: &str| State::Foreign(reason.to_owned());
        assert_eq!(
            states,
            [
                foreign("invalid instrumentation profile data (file header is corrupt)"),
                State::Truncated,
                foreign(
                    "excessively large counter value suggests corrupted profile data: 18446744073709551615"
                ),
                State::Truncated,
            ]
        );
        assert_eq!(complaints.remarks.len(), 3);
    }

    #[test]
    fn list_keeps_paths_as_they_are() {
        let list = list_of(&[Path::new("/a, b/c"), Path::new("/#x")]);
        assert_eq!(list, b"1,/a, b/c\n1,/#x\n");
    }

    #[test]
    fn missing_reader_is_explained() {
        let tools = [Tools {
            profdata: "/usr/bin/llvm-profdata".into(),
            cov: "/usr/bin/llvm-cov".into(),
            version: super::super::Version {
                major: 14,
                minor: 0,
                patch: 6,
            },
            chosen: false,
        }];
        let work = Work {
            tools: &tools,
            environment: &[],
            dir: Path::new("/run"),
            threads: 1,
            attempts: 0,
            used: Vec::new(),
            remarks: Vec::new(),
        };
        assert_eq!(
            work.no_reader(Kind::Raw(10)).to_string(),
            "these profiles are raw version 10, which LLVM 19 to 22 reads; found 14.0.6 at /usr/bin/llvm-profdata"
        );
    }
}
