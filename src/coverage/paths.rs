//! Source paths as producers wrote them → paths relative to the repository, and which of them belong into a report.
//!
//! Everything here is spelling: no disk is asked. A tree that is reached through a symbolic link therefore has several
//! roots, its path as typed and as resolved, and the work trees of all builds are roots of the same repository.

use std::collections::{BTreeSet, HashSet};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::lcov::Tracefile;

/// Paths kept as examples of what was left out.
const EXAMPLES: usize = 5;

/// A pattern that is not a glob.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is not a glob")]
pub struct PathsError {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub source: globset::Error,
}

/// What to make of source paths.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    roots: Vec<String>,
    maps: Vec<(String, String)>,
    include: Option<GlobSet>,
    exclude: GlobSet,
    /// The files of the commit; none if all that lies in the repository counts.
    held: Option<HashSet<String>>,
}

/// What a source path is to the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It belongs into the report under this path.
    Kept(String),
    /// It lies in the repository and the globs leave it out.
    Excluded(String),
    /// It lies in a work tree, and the commit does not hold it.
    NotHeld(String),
    /// It does not lie in the repository.
    Outside,
}

/// What was left out of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Files that do not lie in the repository.
    pub outside: Tally,
    /// Files of the repository that the globs leave out.
    pub excluded: Tally,
    /// Files in work trees that the commit does not hold, by their paths there.
    pub not_held: BTreeSet<String>,
    /// Those like them that are kept, because a glob names them.
    pub named: BTreeSet<String>,
}

impl LeftOut {
    /// Adds what was left out of another tracefile of the same repository.
    pub fn add(&mut self, other: Self) {
        for (own, other) in [
            (&mut self.outside, other.outside),
            (&mut self.excluded, other.excluded),
        ] {
            own.count += other.count;
            let room = EXAMPLES.saturating_sub(own.examples.len());
            own.examples.extend(other.examples.into_iter().take(room));
        }
        self.not_held.extend(other.not_held);
        self.named.extend(other.named);
    }
}

/// How many, and the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The first few, as they were written.
    pub examples: Vec<String>,
}

impl Tally {
    fn add(&mut self, path: &str) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(path.to_owned());
        }
    }
}

impl Rules {
    /// Returns rules for trees that stand at these roots; without any, paths stay absolute and nothing is outside.
    #[must_use]
    pub fn new<R: AsRef<str>>(roots: impl IntoIterator<Item = R>) -> Self {
        let mut roots: Vec<String> = roots
            .into_iter()
            .map(|root| normal(root.as_ref()))
            .collect();
        // The innermost root of a path is the one that counts.
        roots.sort_by_key(|root| std::cmp::Reverse(root.len()));
        roots.dedup();
        Self {
            roots,
            ..Self::default()
        }
    }

    /// Adds a prefix to be replaced before anything else, as compilers do for `-ffile-prefix-map`; of several that fit,
    /// the longest counts.
    #[must_use]
    pub fn map(mut self, from: &str, to: &str) -> Self {
        self.maps.push((normal(from), normal(to)));
        self.maps
            .sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        self
    }

    /// Keeps only paths that one of these globs matches; none at all keeps every path.
    ///
    /// Globs are matched against the whole path relative to the repository; `*` and `?` stay within a directory, `**`
    /// does not, and a glob that ends with `/` means all below.
    pub fn include<G: AsRef<str>>(mut self, globs: &[G]) -> Result<Self, PathsError> {
        self.include = match globs {
            [] => None,
            globs => Some(glob_set(globs)?),
        };
        Ok(self)
    }

    /// Leaves out paths that one of these globs matches, even if they are included.
    pub fn exclude<G: AsRef<str>>(mut self, globs: &[G]) -> Result<Self, PathsError> {
        self.exclude = glob_set(globs)?;
        Ok(self)
    }

    /// Leaves out what the commit does not hold, unless globs say what to keep. An entry that is a submodule or a symbolic link
    /// holds whatever lies below it.
    #[must_use]
    pub fn held(mut self, files: impl IntoIterator<Item = String>) -> Self {
        self.held = Some(files.into_iter().collect());
        self
    }

    /// Whether the commit holds a file, as far as its files are known.
    fn holds(&self, path: &str) -> bool {
        let Some(held) = &self.held else {
            return true;
        };
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        held.contains(path) || above.any(|above| held.contains(above))
    }

    /// Returns what this source path is to the report.
    #[must_use]
    pub fn place(&self, path: &str) -> Place {
        let mut path = normal(path);
        if let Some(mapped) = self
            .maps
            .iter()
            .find_map(|(from, to)| replaced(&path, from, to))
        {
            path = mapped;
        }
        let Some(path) = self.relative(path) else {
            return Place::Outside;
        };
        let included = self
            .include
            .as_ref()
            .is_none_or(|globs| globs.is_match(&path));
        if !included || self.exclude.is_match(&path) {
            Place::Excluded(path)
        } else if self.include.is_none() && !self.holds(&path) {
            Place::NotHeld(path)
        } else {
            Place::Kept(path)
        }
    }

    /// Returns the tracefile with the paths that belong into the report, and what was left out. Files that come to lie
    /// at the same path are added.
    #[must_use]
    pub fn apply(&self, tracefile: Tracefile) -> (Tracefile, LeftOut) {
        let mut kept = Tracefile::default();
        let mut left_out = LeftOut::default();
        for (path, file) in tracefile {
            match self.place(&path) {
                Place::Kept(place) => {
                    if !self.holds(&place) {
                        left_out.named.insert(place.clone());
                    }
                    kept.add(place, file);
                }
                Place::Excluded(_) => left_out.excluded.add(&path),
                Place::NotHeld(place) => {
                    left_out.not_held.insert(place);
                }
                Place::Outside => left_out.outside.add(&path),
            }
        }
        (kept, left_out)
    }

    fn relative(&self, path: String) -> Option<String> {
        if self.roots.is_empty() {
            return Some(path);
        }
        if !path.starts_with('/') {
            // A relative path means the root of the tree, where every command runs.
            return Some(path).filter(|path| path != ".." && !path.starts_with("../"));
        }
        let below = self.roots.iter().find_map(|root| below(&path, root))?;
        Some(below.to_owned()).filter(|path| !path.is_empty())
    }
}

fn glob_set<G: AsRef<str>>(globs: &[G]) -> Result<GlobSet, PathsError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let written = glob.as_ref();
        let fail = |source| PathsError {
            pattern: written.to_owned(),
            source,
        };
        let from_root = written.strip_prefix("./").unwrap_or(written);
        let all_below = if from_root.ends_with('/') { "**" } else { "" };
        let glob = GlobBuilder::new(&format!("{from_root}{all_below}"))
            .literal_separator(true)
            .build()
            .map_err(fail)?;
        set.add(glob);
    }
    set.build().map_err(|source| PathsError {
        pattern: globs
            .iter()
            .map(AsRef::as_ref)
            .collect::<Vec<_>>()
            .join(", "),
        source,
    })
}

/// Returns the path without `.`, `..` and empty components, as far as spelling alone tells.
fn normal(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if absolute => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"))
}

/// Returns what of `path` lies below `root`.
fn below<'p>(path: &'p str, root: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(root)?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest),
        None if rest.is_empty() || root == "/" || root.is_empty() => Some(rest),
        None => None,
    }
}

fn replaced(path: &str, from: &str, to: &str) -> Option<String> {
    let rest = below(path, from)?;
    Some(
        normal(&format!("{to}/{rest}"))
            .trim_start_matches(if to.is_empty() { "/" } else { "" })
            .to_owned(),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(rules: &Rules, path: &str, expected: Option<&str>) {
        let place = match rules.place(path) {
            Place::Kept(path) => Some(path),
            Place::Excluded(_) | Place::NotHeld(_) | Place::Outside => None,
        };
        assert_eq!(place.as_deref(), expected, "{path}");
    }

    #[test]
    fn paths_become_relative_to_any_tree() {
        let rules = Rules::new([
            "/ws/trees/tests",
            "/ws/trees/tests-rma/",
            "/scratch/link/../tree",
            "/ws",
        ]);
        check(&rules, "/ws/trees/tests/src/a.rs", Some("src/a.rs"));
        check(&rules, "/ws/trees/tests-rma/src/a.rs", Some("src/a.rs"));
        check(
            &rules,
            "/ws/trees/tests/build/../src/./a.rs",
            Some("src/a.rs"),
        );
        check(&rules, "//ws//trees/tests//src/a.rs", Some("src/a.rs"));
        check(&rules, "/scratch/tree/src/a.rs", Some("src/a.rs"));
        check(
            &rules,
            "/ws/trees/testsuite/a.rs",
            Some("trees/testsuite/a.rs"),
        );
        check(&rules, "/ws/trees/tests", None);
        check(&rules, "/ws/../etc/passwd", None);
        check(&rules, "/usr/include/stdio.h", None);
        check(&rules, "src/a.jl", Some("src/a.jl"));
        check(&rules, "./src/../a.jl", Some("a.jl"));
        check(&rules, "../a.jl", None);
        check(&rules, "src/../..", None);
        check(&rules, "..a/b", Some("..a/b"));
    }

    #[test]
    fn root_of_the_file_system_holds_everything() {
        check(&Rules::new(["/"]), "/a/b", Some("a/b"));
    }

    #[test]
    fn without_roots_paths_stay() {
        let rules = Rules::new([""; 0]);
        check(
            &rules,
            "/usr/include/./stdio.h",
            Some("/usr/include/stdio.h"),
        );
        check(&rules, "src/a.c", Some("src/a.c"));
    }

    #[test]
    fn prefixes_are_mapped_first() {
        let rules = Rules::new(["/tree"])
            .map("/build/src", "/tree/src")
            .map("/build/src/gen", "generated")
            .map("/src-of-container", "")
            .map("rel", "src/rel");
        check(&rules, "/build/src/a.c", Some("src/a.c"));
        check(&rules, "/build/src/gen/a.c", Some("generated/a.c"));
        check(&rules, "/build/srcs/a.c", None);
        check(&rules, "/src-of-container/a.c", Some("a.c"));
        check(&rules, "rel/a.c", Some("src/rel/a.c"));
    }

    #[test]
    fn globs_include_then_exclude() {
        let rules = Rules::new(["/t"])
            .include(&["src/**", "./lib/*.c", "apps/"])
            .unwrap()
            .exclude(&["**/generated/**", "src/?.rs"])
            .unwrap();
        check(&rules, "/t/src/deep/a.rs", Some("src/deep/a.rs"));
        check(&rules, "/t/src/a.rs", None);
        check(&rules, "/t/lib/a.c", Some("lib/a.c"));
        check(&rules, "/t/lib/deep/a.c", None);
        check(&rules, "/t/apps/x/y/z.c", Some("apps/x/y/z.c"));
        check(&rules, "/t/src/generated/x.rs", None);
        check(&rules, "/t/tests/src/a1.rs", None);
        assert_eq!(
            rules.place("/t/src/a.rs"),
            Place::Excluded("src/a.rs".to_owned())
        );
    }

    #[test]
    fn what_is_not_a_glob_is_named() {
        let error = Rules::default().exclude(&["src/**", "src/[a"]).unwrap_err();
        assert_eq!(error.to_string(), "`src/[a` is not a glob");
    }

    #[test]
    fn files_of_several_trees_are_added() {
        let text = "SF:/t1/a.c\nDA:1,1\nend_of_record\nSF:/t2/a.c\nDA:1,2\nend_of_record\n\
                    SF:/usr/b.h\nend_of_record\nSF:/t1/gen/x.c\nend_of_record\n";
        let (tracefile, _) = Tracefile::parse(text.as_bytes());
        let rules = Rules::new(["/t1", "/t2"]).exclude(&["gen/"]).unwrap();
        let (kept, left_out) = rules.apply(tracefile);
        assert_eq!(kept.files().len(), 1);
        assert_eq!(kept.file("a.c").unwrap().lines()[0].hits, 3);
        let tally = |path: &str| Tally {
            count: 1,
            examples: vec![path.to_owned()],
        };
        let expected = LeftOut {
            outside: tally("/usr/b.h"),
            excluded: tally("/t1/gen/x.c"),
            ..LeftOut::default()
        };
        assert_eq!(left_out, expected);
    }

    #[test]
    fn what_the_commit_does_not_hold_is_left_out_unless_a_glob_names_it() {
        let files = ["src/a.c", "lib", "link", "x y/ü.c"];
        let held = |rules: Rules| rules.held(files.map(str::to_owned));
        let rules = || Rules::new(["/t"]);
        let none: &[&str] = &[];
        for (include, exclude, path, expected) in [
            (none, none, "/t/src/a.c", Place::Kept("src/a.c".to_owned())),
            (none, none, "src/./a.c", Place::Kept("src/a.c".to_owned())),
            (none, none, "/t/x y/ü.c", Place::Kept("x y/ü.c".to_owned())),
            // A submodule, and a symbolic link to a folder.
            (
                none,
                none,
                "/t/lib/deep/b.c",
                Place::Kept("lib/deep/b.c".to_owned()),
            ),
            (
                none,
                none,
                "/t/link/a.c",
                Place::Kept("link/a.c".to_owned()),
            ),
            (
                none,
                none,
                "/t/src/made.c",
                Place::NotHeld("src/made.c".to_owned()),
            ),
            (
                none,
                none,
                "/t/src/a.c.c",
                Place::NotHeld("src/a.c.c".to_owned()),
            ),
            (
                none,
                none,
                "/t/library/b.c",
                Place::NotHeld("library/b.c".to_owned()),
            ),
            (none, none, "/t/src", Place::NotHeld("src".to_owned())),
            (none, none, "/usr/b.h", Place::Outside),
            (
                &["**/*.c"],
                none,
                "/t/src/made.c",
                Place::Kept("src/made.c".to_owned()),
            ),
            (
                &["src/a.c"],
                none,
                "/t/src/made.c",
                Place::Excluded("src/made.c".to_owned()),
            ),
            (
                none,
                &["src/"],
                "/t/src/made.c",
                Place::Excluded("src/made.c".to_owned()),
            ),
        ] {
            let rules = rules().include(include).unwrap().exclude(exclude).unwrap();
            assert_eq!(held(rules).place(path), expected, "{path}");
        }
        assert_eq!(rules().place("/t/x.c"), Place::Kept("x.c".to_owned()));
        let nothing = rules().held([]);
        assert_eq!(nothing.place("/t/x.c"), Place::NotHeld("x.c".to_owned()));

        let text = "SF:/t/src/a.c\nDA:1,1\nend_of_record\nSF:/t/gen/b.c\nDA:1,1\nend_of_record\n";
        let (tracefile, _) = Tracefile::parse(text.as_bytes());
        let (kept, left_out) = held(rules()).apply(tracefile.clone());
        assert_eq!(kept.files().len(), 1);
        assert_eq!(left_out.not_held, BTreeSet::from(["gen/b.c".to_owned()]));
        let (kept, left_out) = held(rules().include(&["**"]).unwrap()).apply(tracefile);
        assert_eq!(kept.files().len(), 2);
        assert_eq!(left_out.named, BTreeSet::from(["gen/b.c".to_owned()]));
        assert_eq!(left_out.not_held, BTreeSet::new());
    }

    proptest! {
        #[test]
        fn normal_form_is_stable_and_clean(path in "/?([a.]{1,2}/{1,2}){0,6}[a.]{0,2}") {
            let once = normal(&path);
            prop_assert_eq!(normal(&once), once.as_str());
            prop_assert!(!once.split('/').skip(1).any(|part| part == "." || part.is_empty()) || once == "/");
        }

        #[test]
        fn nothing_kept_leads_out_of_the_tree(path in "/?(t|u|\\.\\.|\\.|a)(/(t|u|\\.\\.|\\.|a)){0,5}") {
            if let Place::Kept(path) = Rules::new(["/t/u", "/a"]).place(&path) {
                prop_assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."));
            }
        }
    }
}
