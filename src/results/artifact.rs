//! The files of a run, as values: which there are, and what stands in those that are made here.

use std::collections::BTreeMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::benchmark::figures;
use super::record::{
    BenchmarksSummary, Part, RunEntry, RunMeta, RunStatus, SCHEMA_VERSION, TestsSummary,
};
use super::{FinishedRun, junit, summary};

/// A file below `artifacts/`.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Its path, relative to `artifacts/`.
    pub path: Utf8PathBuf,
    /// What stands in it.
    pub content: Content,
}

/// Where the content of an artifact comes from.
#[derive(Debug, Clone)]
pub enum Content {
    /// From here.
    Bytes(Vec<u8>),
    /// From a file that is copied.
    File(Utf8PathBuf),
}

/// What one run gives to the artifacts.
#[derive(Debug, Clone)]
pub struct RunFiles {
    /// `runs/RUN-ID.json`.
    pub entry: RunEntry,
    /// Its entry in `meta.json`.
    pub meta: RunMeta,
    /// The files of the parts in its scope.
    pub files: Vec<Artifact>,
}

impl Artifact {
    /// Returns a JSON document.
    pub fn json(
        path: impl Into<Utf8PathBuf>,
        document: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(document)?;
        bytes.push(b'\n');
        Ok(Self {
            path: path.into(),
            content: Content::Bytes(bytes),
        })
    }

    /// Returns an artifact with the content of a file.
    pub fn file(path: impl Into<Utf8PathBuf>, source: impl Into<Utf8PathBuf>) -> Self {
        Self {
            path: path.into(),
            content: Content::File(source.into()),
        }
    }

    /// Returns the part that it belongs to: that of its first folder.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        part_of(&self.path)
    }
}

impl RunFiles {
    /// Returns the files of a run: those of its tests and benchmarks, and `coverage`, made by those who know how.
    ///
    /// `meta.run`, `meta.parts` and `meta.marks` are set here.
    pub fn new(
        run: &FinishedRun,
        meta: RunMeta,
        coverage: Vec<Artifact>,
    ) -> Result<Self, serde_json::Error> {
        let entry = summary::entry(run);
        let mut files = Vec::new();
        if run.scope.contains(&Part::Tests) {
            files.push(Artifact::json(TESTS_SUMMARY, &summary::tests(run))?);
            let junit = junit::write(run).into_bytes();
            files.push(Artifact {
                path: "tests/junit.xml".into(),
                content: Content::Bytes(junit),
            });
        }
        if run.scope.contains(&Part::Coverage) {
            files.extend(coverage);
        }
        if run.scope.contains(&Part::Benchmarks) {
            let summary = summary::benchmarks(run);
            let (metrics, folder) = (&summary.benchmarks, Part::Benchmarks.folder());
            for (name, document) in [
                ("bmf", figures::bmf(metrics)),
                ("smaller-is-better", figures::smaller_is_better(metrics)),
                ("bigger-is-better", figures::bigger_is_better(metrics)),
            ] {
                files.push(Artifact::json(format!("{folder}/{name}.json"), &document)?);
            }
            files.push(Artifact::json(BENCHMARKS_SUMMARY, &summary)?);
        }
        let meta = RunMeta {
            run: entry.run.clone(),
            parts: entry.scope.clone(),
            marks: entry.marks.clone(),
            ..meta
        };
        Ok(Self { entry, meta, files })
    }
}

const TESTS_SUMMARY: &str = "tests/summary.json";
const BENCHMARKS_SUMMARY: &str = "benchmarks/summary.json";

/// Returns what stands for a part that nobody ran at this commit: a document that says so. Coverage has none.
pub fn skipped(part: Part, commit: &str) -> Result<Option<Artifact>, serde_json::Error> {
    let why = || vec!["not run at this commit".to_owned()];
    match part {
        Part::Tests => {
            let summary = TestsSummary {
                schema_version: SCHEMA_VERSION,
                commit: commit.to_owned(),
                status: RunStatus::Skipped,
                suites: BTreeMap::new(),
                failing: Vec::new(),
                steps: Vec::new(),
                run: None,
                missing: why(),
            };
            Artifact::json(TESTS_SUMMARY, &summary).map(Some)
        }
        Part::Benchmarks => {
            let summary = BenchmarksSummary {
                schema_version: SCHEMA_VERSION,
                commit: commit.to_owned(),
                worst_regression_pct: None,
                benchmarks: BTreeMap::new(),
                status: Some(RunStatus::Skipped),
                run: None,
                steps: Vec::new(),
                conditions: BTreeMap::new(),
                missing: why(),
            };
            Artifact::json(BENCHMARKS_SUMMARY, &summary).map(Some)
        }
        Part::Coverage => Ok(None),
    }
}

/// Returns the part that a path below `artifacts/` belongs to.
#[must_use]
pub fn part_of(path: &Utf8Path) -> Option<Part> {
    let first = path.components().next()?;
    Part::ALL
        .into_iter()
        .find(|part| part.folder() == first.as_str())
}

/// Returns the content of `checksums.txt` as `sha256sum -c` reads it, from pairs of path and digest in hexadecimal.
#[must_use]
pub fn checksums(digests: &[(Utf8PathBuf, String)]) -> String {
    let mut lines = digests
        .iter()
        .map(|(path, digest)| line(path.as_str(), digest))
        .collect::<Vec<_>>();
    lines.sort_by(|a, b| a.1.cmp(b.1));
    lines.into_iter().map(|(line, _)| line).collect()
}

/// Returns what [`checksums`] wrote: digests by path. `None` if a line is not of that form, or a path leads elsewhere.
#[must_use]
pub fn read_checksums(text: &str) -> Option<BTreeMap<Utf8PathBuf, String>> {
    text.lines().map(read_line).collect()
}

fn read_line(line: &str) -> Option<(Utf8PathBuf, String)> {
    let (escaped, line) = match line.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (digest, name) = line.split_once("  ")?;
    let path = Utf8PathBuf::from(if escaped {
        unescape(name)?
    } else {
        name.to_owned()
    });
    let is_plain = path
        .components()
        .all(|it| matches!(it, Utf8Component::Normal(_)));
    let is_digest = digest.len() == 64 && digest.bytes().all(|it| it.is_ascii_hexdigit());
    (is_plain && is_digest && !name.is_empty()).then(|| (path, digest.to_owned()))
}

fn unescape(name: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = name.chars();
    while let Some(next) = rest.next() {
        text.push(match next {
            '\\' => match rest.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

/// A backslash in front tells sha256sum that the name has escapes.
fn line<'a>(path: &'a str, digest: &str) -> (String, &'a str) {
    let escaped = path
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    let mark = if escaped == path { "" } else { "\\" };
    (format!("{mark}{digest}  {escaped}\n"), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_sorted_and_names_escaped() {
        let text = checksums(&[
            ("tests/a\\b\nc".into(), "22".into()),
            ("meta.json".into(), "11".into()),
        ]);
        assert_eq!(text, "11  meta.json\n\\22  tests/a\\\\b\\nc\n");
    }

    #[test]
    fn checksums_are_read_back() {
        let digest = "a".repeat(64);
        let digests = [
            ("tests/a\\b\nc".into(), digest.clone()),
            ("meta.json".into(), digest.clone()),
        ];
        assert_eq!(
            read_checksums(&checksums(&digests)),
            Some(digests.into_iter().collect())
        );
        for wrong in [
            format!("{digest}  ../../etc/passwd\n"),
            format!("{digest}  /etc/passwd\n"),
            format!("{digest}  \n"),
            format!("{digest} tests/a\n"),
            "short  tests/a\n".to_owned(),
            format!("\\{digest}  a\\x\n"),
        ] {
            assert_eq!(read_checksums(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_first_folder_is_the_part() {
        assert_eq!(
            part_of("coverage/html/index.html".into()),
            Some(Part::Coverage)
        );
        assert_eq!(part_of("meta.json".into()), None);
    }
}
