//! Tracefiles: what ran in each source file, as lcov writes it.
//!
//! The format is that of `geninfo(1)`, section FILES, in the dialects that producers really write: lcov 1 and 2,
//! llvm-cov, grcov, coverage.py and Julia. Reading lives in `read`; this file holds the model, adding and writing.
//! Which files belong into a report is the business of [`paths`](super::paths), percentages that of
//! [`summary`](super::summary).
//!
//! Sections of one source file are added whatever test they name, so test names (`TN`) are not kept; nor are source
//! versions (`VER`) and line checksums, which say nothing within one commit.

mod add;
mod encoding;
mod fields;
mod print;
pub(super) use print::put_text;
mod read;
mod reading;
mod section;

use std::collections::BTreeMap;
use std::io::{self, Write};

use add::{settle, unite};
pub use reading::{Fault, Problem, Reading};

/// What ran in each source file. Files stand in byte order of their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracefile {
    files: BTreeMap<Box<str>, SourceFile>,
}

/// What ran in one source file.
///
/// Lines ascend. Functions and branches keep the order of their producer for as long as every section that is added
/// lists the same ones in the same order, and are sorted otherwise; that makes adding commutative and associative.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceFile {
    functions: Vec<Function>,
    lines: Vec<Line>,
    branches: Vec<Branch>,
    conditions: Vec<Condition>,
    stated: Stated,
}

/// A function and how often it was entered. Its name and first line tell it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The name as its producer wrote it, usually mangled.
    pub name: Box<str>,
    /// The line it starts on.
    pub start: u32,
    /// The line it ends on, if that was said.
    pub end: Option<u32>,
    /// How often it was entered.
    pub hits: u64,
}

/// A line with code and how often it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The line, from 1.
    pub number: u32,
    /// How often it ran.
    pub hits: u64,
}

/// One way out of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The line of the decision.
    pub line: u32,
    /// The producer's number of the decision on this line.
    pub block: u32,
    /// What kind of edge it is.
    pub kind: BranchKind,
    /// Whether the sources exclude it from the totals.
    pub excluded: bool,
    /// Which way out.
    pub id: BranchId,
    /// How often it was taken; none where the decision itself was never reached.
    pub taken: Option<u64>,
}

/// The kind of edge that a branch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BranchKind {
    /// A condition in the source.
    #[default]
    Plain,
    /// An edge that only an exception takes (`e`).
    Exception,
    /// An edge of falling through (`f`).
    Fallthrough,
}

/// Names one way out of a decision: a number, or the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BranchId {
    /// The producer's number.
    Number(u32),
    /// The expression, or the jump, in words.
    Text(Box<str>),
}

impl BranchId {
    /// Returns the identity that a tracefile spells as `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        // "07" is not "7": only what is written back unchanged becomes a number.
        match text.parse::<u32>() {
            Ok(number) if !text.starts_with(['+', '0']) || text == "0" => Self::Number(number),
            _ => Self::Text(text.into()),
        }
    }
}

/// One sense of one condition of a decision (MC/DC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The line of the decision.
    pub line: u32,
    /// How many conditions the decision has.
    pub group: u32,
    /// Whether the condition was to be true.
    pub sense: bool,
    /// Whether the sources exclude it from the totals.
    pub excluded: bool,
    /// Which of the conditions.
    pub index: u32,
    /// The condition in words.
    pub expression: Box<str>,
    /// How often it decided the outcome.
    pub taken: u64,
}

/// How many were found, and how many of them ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many there are.
    pub found: u64,
    /// How many ran.
    pub hit: u64,
}

impl Count {
    fn of(hits: impl IntoIterator<Item = bool>) -> Self {
        let mut count = Self::default();
        for hit in hits {
            count.found += 1;
            count.hit += u64::from(hit);
        }
        count
    }

    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.found = self.found.saturating_add(other.found);
        self.hit = self.hit.saturating_add(other.hit);
    }
}

/// Totals that the producer of a section stated and that differ from what its records add up to.
///
/// llvm-cov sums `LF` and `BRF` over functions, so they are not the number of `DA` and `BRDA` records. Such totals are
/// written back as long as the section stays as it was read; once something is added they are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stated {
    /// `FNF` and `FNH`.
    pub functions: Option<Count>,
    /// `LF` and `LH`.
    pub lines: Option<Count>,
    /// `BRF` and `BRH`.
    pub branches: Option<Count>,
}

impl Tracefile {
    /// Returns the tracefile that `text` spells, and what was wrong with it.
    #[must_use]
    pub fn parse(text: &[u8]) -> (Self, Reading) {
        let mut tracefile = Self::default();
        let reading = tracefile
            .read(text)
            .unwrap_or_else(|_| unreachable!("reading from memory does not fail"));
        (tracefile, reading)
    }

    /// Adds the tracefile that `source` spells, in one pass and without keeping more of it than one section.
    pub fn read(&mut self, source: impl io::Read) -> io::Result<Reading> {
        read::read(self, source)
    }

    /// Returns the files in byte order of their paths.
    #[must_use]
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &SourceFile)> {
        self.files.iter().map(|(path, file)| (&**path, file))
    }

    /// Returns the file of this path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.get(path)
    }

    /// Returns whether no file is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Adds one source file.
    pub fn add(&mut self, path: impl Into<Box<str>>, file: SourceFile) {
        match self.files.entry(path.into()) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(file);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => place.get_mut().add(file),
        }
    }

    /// Adds another tracefile.
    pub fn merge(&mut self, other: Self) {
        if self.files.is_empty() {
            *self = other;
            return;
        }
        for (path, file) in other.files {
            self.add(path, file);
        }
    }

    /// Writes the tracefile, its records in the order of llvm-cov.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let mut text = Vec::new();
        for (path, file) in &self.files {
            file.print(path, &mut text);
            if text.len() > WRITE_AT_ONCE {
                out.write_all(&text)?;
                text.clear();
            }
        }
        out.write_all(&text)?;
        out.flush()
    }
}

/// Bytes that are gathered before they are written.
const WRITE_AT_ONCE: usize = 256 << 10;

impl IntoIterator for Tracefile {
    type Item = (Box<str>, SourceFile);
    type IntoIter = std::collections::btree_map::IntoIter<Box<str>, SourceFile>;

    fn into_iter(self) -> Self::IntoIter {
        self.files.into_iter()
    }
}

impl SourceFile {
    /// Returns a file with these functions, lines and branches. Lines may come in any order; equal ones are added.
    #[must_use]
    pub fn new(functions: Vec<Function>, mut lines: Vec<Line>, branches: Vec<Branch>) -> Self {
        settle(&mut lines);
        Self {
            functions,
            lines,
            branches,
            ..Self::default()
        }
    }

    /// Sets the conditions (MC/DC).
    #[must_use]
    pub fn with_conditions(mut self, conditions: Vec<Condition>) -> Self {
        self.conditions = conditions;
        self
    }

    /// Sets totals to be written in place of what the records add up to.
    #[must_use]
    pub fn with_stated(mut self, stated: Stated) -> Self {
        self.state(stated);
        self
    }

    /// Returns the functions; a name may occur more than once.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Returns the lines, ascending.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Returns the branches.
    #[must_use]
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// Returns the conditions.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Returns the totals its producer stated where they differ from the records.
    #[must_use]
    pub fn stated(&self) -> Stated {
        self.stated
    }

    /// Returns how many lines there are and how many ran.
    #[must_use]
    pub fn line_count(&self) -> Count {
        Count::of(self.lines.iter().map(|line| line.hits > 0))
    }

    /// Returns how many branches there are and how many were taken, without those that the sources exclude.
    #[must_use]
    pub fn branch_count(&self) -> Count {
        let counted = self.branches.iter().filter(|branch| !branch.excluded);
        Count::of(counted.map(|branch| branch.taken.is_some_and(|taken| taken > 0)))
    }

    /// Returns how many functions there are and how many were entered.
    ///
    /// Functions that start on the same line are instances of one template or generic and count once.
    #[must_use]
    pub fn function_count(&self) -> Count {
        let mut starts: Vec<(u32, bool)> = self
            .functions
            .iter()
            .map(|function| (function.start, function.hits > 0))
            .collect();
        starts.sort_unstable();
        let functions = starts.chunk_by(|a, b| a.0 == b.0);
        Count::of(functions.map(|instances| instances.iter().any(|(_, hit)| *hit)))
    }

    /// Adds another section of the same file.
    pub fn add(&mut self, mut other: Self) {
        unite(&mut self.functions, &mut other.functions);
        unite(&mut self.lines, &mut other.lines);
        unite(&mut self.branches, &mut other.branches);
        unite(&mut self.conditions, &mut other.conditions);
        self.stated = Stated::default();
    }

    fn state(&mut self, stated: Stated) {
        let differing =
            |said: Option<Count>, count: &dyn Fn() -> Count| said.filter(|said| *said != count());
        self.stated = Stated {
            functions: differing(stated.functions, &|| self.function_count()),
            lines: differing(stated.lines, &|| self.line_count()),
            branches: differing(stated.branches, &|| self.branch_count()),
        };
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(tracefile: &Tracefile) -> String {
        let mut text = Vec::new();
        tracefile.write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn merged(texts: &[&str]) -> String {
        let mut sum = Tracefile::default();
        for text in texts {
            let (tracefile, reading) = Tracefile::parse(text.as_bytes());
            assert_eq!(reading.problems, []);
            sum.merge(tracefile);
        }
        printed(&sum)
    }

    #[test]
    fn records_come_in_the_order_of_llvm_cov() {
        let file = SourceFile::new(
            vec![
                function("b", 9, None, 0),
                function("a<int>", 2, Some(4), 7),
                function("a<long>", 2, Some(4), 0),
            ],
            vec![Line { number: 4, hits: 0 }, Line { number: 2, hits: 7 }],
            vec![
                branch(3, BranchId::Number(0), Some(7)),
                branch(3, BranchId::new("a, b"), None),
            ],
        );
        let mut tracefile = Tracefile::default();
        tracefile.add("src/a.cpp", file);
        insta::assert_snapshot!(printed(&tracefile), @r"
        SF:src/a.cpp
        FN:9,b
        FN:2,4,a<int>
        FN:2,4,a<long>
        FNDA:0,b
        FNDA:7,a<int>
        FNDA:0,a<long>
        FNF:2
        FNH:1
        DA:2,7
        DA:4,0
        BRDA:3,0,0,7
        BRDA:3,0,a, b,-
        BRF:2
        BRH:1
        LF:2
        LH:1
        end_of_record
        ");
    }

    #[test]
    fn stated_totals_survive_until_something_is_added() {
        let text = "SF:a.rs\nFN:1,f\nFNDA:1,f\nFNF:1\nFNH:1\nDA:1,1\nBRF:0\nBRH:0\nLF:5\nLH:4\nend_of_record\n";
        assert_eq!(merged(&[text]), text);
        assert_eq!(
            merged(&[text, text]),
            "SF:a.rs\nFN:1,f\nFNDA:2,f\nFNF:1\nFNH:1\nDA:1,2\nBRF:0\nBRH:0\nLF:1\nLH:1\nend_of_record\n"
        );
    }

    #[test]
    fn order_of_the_producer_stays_while_all_agree() {
        let both = "SF:a\nFN:9,z\nFN:1,a\nFNDA:1,z\nFNDA:1,a\nend_of_record\n";
        let one = "SF:a\nFN:1,a\nFNDA:1,a\nend_of_record\n";
        assert!(merged(&[both, both]).starts_with("SF:a\nFN:9,z\nFN:1,a\nFNDA:2,z\nFNDA:2,a\n"));
        assert!(merged(&[both, one]).starts_with("SF:a\nFN:1,a\nFN:9,z\nFNDA:2,a\nFNDA:1,z\n"));
        assert_eq!(merged(&[both, one]), merged(&[one, both]));
    }

    #[test]
    fn counts_saturate() {
        let text = format!("SF:a\nDA:1,{}\nend_of_record\n", u64::MAX);
        assert!(merged(&[&text, &text]).contains("DA:1,18446744073709551615\n"));
    }

    #[test]
    fn branch_never_reached_adds_nothing() {
        let text = |taken: &str| format!("SF:a\nBRDA:1,0,0,{taken}\nend_of_record\n");
        for (a, b, sum) in [
            ("-", "-", "-"),
            ("-", "0", "0"),
            ("3", "-", "3"),
            ("3", "4", "7"),
        ] {
            let sum = format!("BRDA:1,0,0,{sum}\n");
            assert!(merged(&[&text(a), &text(b)]).contains(&sum), "{a} + {b}");
        }
    }

    #[test]
    fn line_break_in_a_name_does_not_end_its_record() {
        let mut tracefile = Tracefile::default();
        let file = SourceFile::new(
            vec![function("a\nDA:7,7", 1, None, 1)],
            Vec::new(),
            Vec::new(),
        );
        tracefile.add("x\ny", file);
        let (again, reading) = Tracefile::parse(printed(&tracefile).as_bytes());
        assert_eq!(reading.problems, []);
        assert_eq!(again.file("x\u{fffd}y").unwrap().lines(), []);
    }

    fn function(name: &str, start: u32, end: Option<u32>, hits: u64) -> Function {
        Function {
            name: name.into(),
            start,
            end,
            hits,
        }
    }

    fn branch(line: u32, id: BranchId, taken: Option<u64>) -> Branch {
        Branch {
            line,
            block: 0,
            kind: BranchKind::Plain,
            excluded: false,
            id,
            taken,
        }
    }

    fn hits() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 0..5_u64, 1 => any::<u64>()]
    }

    prop_compose! {
        fn functions()(list in prop::collection::vec(("[a-c]|_Z1f,x| é", 1..5_u32, prop::option::of(1..9_u32), hits()), 0..4))
            -> Vec<Function>
        {
            list.iter().map(|(name, start, end, hits)| function(name, *start, *end, *hits)).collect()
        }
    }

    prop_compose! {
        fn branches()(list in prop::collection::vec(
            (1..5_u32, 0..2_u32, 0..3_u8, any::<bool>(), "[0-9]{1,2}|a, b|", prop::option::of(hits())), 0..4))
            -> Vec<Branch>
        {
            let kinds = [BranchKind::Plain, BranchKind::Exception, BranchKind::Fallthrough];
            list.into_iter().map(|(line, block, kind, excluded, id, taken)| Branch {
                line, block, kind: kinds[usize::from(kind)], excluded, id: BranchId::new(&id), taken,
            }).collect()
        }
    }

    prop_compose! {
        fn conditions()(list in prop::collection::vec(
            (1..4_u32, 1..3_u32, any::<bool>(), any::<bool>(), 0..2_u32, "[ab]|a, b|", hits()), 0..3))
            -> Vec<Condition>
        {
            list.into_iter().map(|(line, group, sense, excluded, index, expression, taken)| Condition {
                line, group, sense, excluded, index, expression: expression.into(), taken,
            }).collect()
        }
    }

    fn count() -> impl Strategy<Value = Option<Count>> {
        prop::option::of((0..9_u64, 0..9_u64).prop_map(|(found, hit)| Count { found, hit }))
    }

    prop_compose! {
        fn source_file()(
            functions in functions(),
            lines in prop::collection::vec((1..7_u32, hits()), 0..5),
            branches in branches(),
            conditions in conditions(),
            (functions_stated, lines_stated, branches_stated) in (count(), count(), count()),
        ) -> SourceFile {
            let lines = lines.into_iter().map(|(number, hits)| Line { number, hits }).collect();
            SourceFile::new(functions, lines, branches).with_conditions(conditions).with_stated(Stated {
                functions: functions_stated,
                lines: lines_stated,
                branches: branches_stated,
            })
        }
    }

    prop_compose! {
        fn tracefile()(files in prop::collection::vec(("[ab]|a/b c", source_file()), 0..4)) -> Tracefile {
            let mut tracefile = Tracefile::default();
            for (path, file) in files {
                tracefile.add(path, file);
            }
            tracefile
        }
    }

    fn sum(mut a: Tracefile, b: Tracefile) -> Tracefile {
        a.merge(b);
        a
    }

    proptest! {
        #[test]
        fn parse_undoes_print(tracefile in tracefile()) {
            let (again, reading) = Tracefile::parse(printed(&tracefile).as_bytes());
            prop_assert_eq!(reading.problems, []);
            prop_assert_eq!(again, tracefile);
        }

        #[test]
        fn merge_commutes(a in tracefile(), b in tracefile()) {
            prop_assert_eq!(sum(a.clone(), b.clone()), sum(b, a));
        }

        #[test]
        fn merge_associates(a in tracefile(), b in tracefile(), c in tracefile()) {
            let left = sum(sum(a.clone(), b.clone()), c.clone());
            prop_assert_eq!(left, sum(a, sum(b, c)));
        }

        #[test]
        fn reading_into_a_sum_is_merging(a in tracefile(), b in tracefile()) {
            let mut read = a.clone();
            read.read(printed(&b).as_bytes()).unwrap();
            prop_assert_eq!(read, sum(a, b));
        }
    }
}
