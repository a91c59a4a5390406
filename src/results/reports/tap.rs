//! The Test Anything Protocol, versions 12 to 14, and writers that leave out numbers or the plan.
//!
//! Subtests stand indented below the test that sums them up, which is the one that counts.

use super::source::LineReader;
use super::{Case, CaseStatus, Dialect, Report, ReportError};

/// Whether an output looks like it: a plan and a test, or a plan that skips everything.
#[derive(Default)]
pub(super) struct Signs {
    planned: bool,
    tested: bool,
    skipped: bool,
}

impl Signs {
    pub(super) fn line(&mut self, line: &str) {
        if !self.planned
            && let Some(plan) = plan(line)
        {
            self.planned = true;
            self.skipped |= plan.skips_all().is_some();
        }
        self.tested = self.tested || test(line).is_some();
        self.skipped |= line == "Result: NOTESTS";
    }

    pub(super) fn are_likely(&self) -> bool {
        self.skipped || self.planned && self.tested
    }
}

/// Reads the output of one or several producers.
#[derive(Default)]
pub(super) struct Reader {
    /// The program that `prove` says it runs, and how wide its line is: those of one `prove` end below one another.
    program: Option<String>,
    width: Option<usize>,
    /// How many tests it planned.
    planned: Option<u64>,
    /// The numbers of its tests.
    numbers: Vec<u64>,
    /// Each test, and what stands below it.
    cases: Vec<(Case, String)>,
    /// Programs that skip themselves.
    skipped: Vec<Case>,
    problems: Vec<String>,
    failed_by_prove: bool,
}

impl LineReader for Reader {
    fn line(&mut self, line: &str) {
        if let Some(program) = self.program_of_prove(line) {
            self.end_program();
            self.width = Some(program.width);
            self.program = Some(program.name.to_owned());
            if let Some(why) = program.said.strip_prefix("skipped") {
                self.skip_all(why.trim_start_matches(':').trim());
            }
        } else if let Some(plan) = plan(line) {
            self.plan(&plan);
        } else if line.starts_with("TAP version ") {
            self.end_program();
        } else if line == "ok" && self.program.is_some() && self.planned == Some(self.heard()) {
            // What `prove` thinks of the program.
        } else if let Some((number, case)) = test(line) {
            let next = || self.numbers.last().map_or(1, |last| last.saturating_add(1));
            let number = number.unwrap_or_else(next);
            self.numbers.push(number);
            let name = if case.name.is_empty() {
                format!("test {}", self.heard())
            } else {
                case.name
            };
            let name = self.named(&name);
            self.cases.push((Case { name, ..case }, String::new()));
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            self.problems
                .push(format!("it bailed out: {}", super::one_line(reason)));
        } else if line == "Result: FAIL" && self.program.is_some() {
            self.failed_by_prove = true;
        } else if line.starts_with("# Subtest") {
            // Belongs to the test that comes.
        } else if let Some((_, detail)) = self.cases.last_mut()
            && (line.starts_with('#') || line.starts_with("  ") && !is_inner(line))
        {
            super::add_line(detail, line.trim_start_matches('#').trim_start());
        }
    }

    fn held(&self) -> usize {
        self.cases.len() + self.skipped.len() + self.problems.len()
    }

    fn end(mut self) -> Result<Report, ReportError> {
        let nothing = self.cases.is_empty() && self.planned.is_none();
        if nothing && self.skipped.is_empty() && self.problems.is_empty() {
            return Err(ReportError::Not { what: "TAP" });
        }
        self.end_program();
        let mut report = Report::new(Dialect::Tap);
        let failed = |(case, _): &(Case, String)| case.status.is_failure();
        if self.failed_by_prove && self.problems.is_empty() && !self.cases.iter().any(failed) {
            self.problems
                .push("`prove` calls it FAIL, and no test of it failed".to_owned());
        }
        report.problems = self.problems;
        report.cases = self
            .cases
            .into_iter()
            .map(|(case, detail)| match case.status {
                CaseStatus::Failed | CaseStatus::Xfailed => case.with_detail(&detail),
                _ => case,
            })
            .collect();
        report.cases.extend(self.skipped);
        report.number_namesakes();
        Ok(report)
    }
}

impl Reader {
    /// Reads what `prove --verbose` writes before the output of a program, `t/halo.t .. `, and instead of one that skips itself.
    /// Programs print much the same, `mesh.vtk ...`: `prove` begins with such a line, and has all of them end in one column.
    fn program_of_prove<'l>(&self, line: &'l str) -> Option<Program<'l>> {
        let first = self.planned.is_none() && self.cases.is_empty() && self.skipped.is_empty();
        let is_next = |width| self.width.map_or(first, |of_first| of_first == width);
        Program::of(line).filter(|program| is_next(program.width))
    }

    fn plan(&mut self, plan: &Plan<'_>) {
        if let Some(why) = plan.skips_all() {
            self.skip_all(why);
        }
        if let Some(planned) = self.planned {
            // The next of several programs; its tests may have come before its plan.
            let beyond = self.heard().saturating_sub(planned);
            let behind = if beyond == plan.count { beyond } else { 0 };
            self.split_off(behind);
        }
        self.planned = Some(plan.count);
    }

    /// Ends the program before its last `count` tests.
    fn split_off(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let cases = self.cases.split_off(self.cases.len().saturating_sub(count));
        let numbers = self
            .numbers
            .split_off(self.numbers.len().saturating_sub(count));
        self.end_program();
        self.cases.extend(cases);
        self.numbers = numbers;
    }

    /// How many tests of the program were reported.
    fn heard(&self) -> u64 {
        self.numbers.len() as u64
    }

    fn named(&self, name: &str) -> String {
        match &self.program {
            Some(program) => format!("{program}: {name}"),
            None => name.to_owned(),
        }
    }

    /// A program that skips itself lists no test; one stands for all of them.
    fn skip_all(&mut self, why: &str) {
        let name = self.named("(all tests)");
        self.skipped
            .push(Case::new(name, CaseStatus::Skipped).because(why));
    }

    fn end_program(&mut self) {
        let heard = self.heard();
        let planned = self.planned.take();
        if let Some(planned) = planned.filter(|&planned| planned != heard) {
            let message = format!("{planned} tests were planned, and {heard} were reported");
            self.problems.push(self.named(&message));
        }
        let numbers = std::mem::take(&mut self.numbers);
        if planned.is_some() {
            return self.check(numbers, planned);
        }
        // Without plans, a program begins where the numbers do.
        let mut rest = numbers;
        while !rest.is_empty() {
            let again = rest.iter().skip(1).position(|&number| number == 1);
            let next = rest.split_off(again.map_or(rest.len(), |at| at + 1));
            self.check(rest, None);
            rest = next;
        }
    }

    /// Checks that each test that was planned is there once.
    fn check(&mut self, mut numbers: Vec<u64>, planned: Option<u64>) {
        let heard = numbers.len() as u64;
        let most = planned.unwrap_or(heard);
        numbers.sort_unstable();
        let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]);
        let beyond = numbers.iter().find(|number| !(1..=most).contains(number));
        if let Some([number, ..]) = twice {
            let message = format!("test number {number} stands there twice");
            self.problems.push(self.named(&message));
        } else if let Some(number) = beyond.filter(|_| heard <= most) {
            let limit = match planned {
                Some(planned) => format!("its plan of {planned}"),
                None => format!("the {heard} that were reported"),
            };
            let message = format!("test number {number} is beyond {limit}");
            self.problems.push(self.named(&message));
        }
        numbers.dedup();
        let known = numbers.iter().filter(|number| (1..=most).contains(*number));
        let missing = most.saturating_sub(known.count() as u64);
        if missing > 0 {
            let name = self.named("(tests that were planned)");
            let why = format!("nothing was heard of {missing} of {most} tests");
            let case = Case::new(name, CaseStatus::Lost).because(&why);
            self.cases.push((case, String::new()));
        }
    }
}

/// A line of `prove`.
struct Program<'l> {
    name: &'l str,
    said: &'l str,
    /// Where its dots end.
    width: usize,
}

impl<'l> Program<'l> {
    fn of(line: &'l str) -> Option<Self> {
        let (name, dots) = line.split_once(" ..")?;
        let rest = dots.trim_start_matches('.');
        let said = rest.trim();
        let is_path = name.contains(['.', '/']) && !name.contains(char::is_whitespace);
        let is_prove = rest.starts_with(' ') && (said.is_empty() || said.starts_with("skipped"));
        (is_path && is_prove).then_some(Self {
            name,
            said,
            width: line.len() - rest.len(),
        })
    }
}

/// Whether an indented line belongs to a subtest, and not to a block of YAML.
fn is_inner(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('#') || plan(line).is_some() || test(line).is_some()
}

struct Plan<'a> {
    count: u64,
    /// What stands behind it as a comment.
    comment: Option<&'a str>,
}

impl<'a> Plan<'a> {
    /// Returns why the program skips itself, if it does.
    fn skips_all(&self) -> Option<&'a str> {
        let comment = self.comment.filter(|_| self.count == 0)?;
        let skips = comment
            .get(..4)
            .is_some_and(|word| word.eq_ignore_ascii_case("skip"));
        let why = comment.trim_start_matches(|c: char| !c.is_whitespace());
        skips.then(|| why.trim())
    }
}

/// Reads `1..7` and `1..0 # SKIP no MPI`.
fn plan(line: &str) -> Option<Plan<'_>> {
    let rest = line.strip_prefix("1..")?;
    let (count, comment) = match rest.split_once('#') {
        Some((count, comment)) => (count, Some(comment.trim())),
        None => (rest, None),
    };
    Some(Plan {
        count: count.trim().parse().ok()?,
        comment,
    })
}

/// Reads `not ok 2 - name # TODO why`: the number, if it has one, and the test.
fn test(line: &str) -> Option<(Option<u64>, Case)> {
    let (good, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let rest = rest.trim_start();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = match rest.as_bytes().get(digits) {
        None | Some(b' ') => (rest[..digits].parse().ok(), &rest[digits..]),
        Some(_) => (None, rest),
    };
    let (text, directive) = directive(rest);
    let text = text.trim();
    let name = text.strip_prefix("- ").unwrap_or(text).trim();
    let (status, message) = match directive {
        Some((Directive::Skip, why)) => (CaseStatus::Skipped, why),
        Some((Directive::Todo, why)) if good => (CaseStatus::Xpassed, why),
        Some((Directive::Todo, why)) => (CaseStatus::Xfailed, why),
        None if good => (CaseStatus::Passed, ""),
        None => (CaseStatus::Failed, ""),
    };
    let case = Case::new(name.replace("\\#", "#"), status).because(message);
    Some((number, case))
}

enum Directive {
    Skip,
    Todo,
}

/// Splits the directive off: the last `#` that is not escaped, with a word that is known behind it.
fn directive(text: &str) -> (&str, Option<(Directive, &str)>) {
    for (at, _) in text.rmatch_indices('#') {
        if text[..at].ends_with('\\') {
            continue;
        }
        let comment = text[at + 1..].trim_start();
        let word = comment.get(..4).unwrap_or_default().to_ascii_lowercase();
        let kind = match word.as_str() {
            "skip" => Directive::Skip,
            "todo" => Directive::Todo,
            _ => continue,
        };
        let why = comment.trim_start_matches(|c: char| !c.is_whitespace());
        return (&text[..at], Some((kind, why.trim())));
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, read_text};
    use super::*;

    fn read(text: &str) -> Result<Report, ReportError> {
        read_text(Format::Tap, text)
    }

    fn is_likely(text: &str) -> bool {
        let mut signs = Signs::default();
        text.lines().for_each(|line| signs.line(line));
        signs.are_likely()
    }

    fn told(text: &str) -> String {
        let report = read(text).expect("it is TAP");
        let cases = report.cases.iter().map(|case| {
            let message = case.message.as_deref().unwrap_or("-");
            format!("{:<8} {}  {message}\n", case.status.as_str(), case.name)
        });
        let problems = report.problems.iter().map(|it| format!("! {it}\n"));
        cases.chain(problems).collect()
    }

    #[test]
    fn what_perl_writes() {
        insta::assert_snapshot!(told(include_str!("../../../tests/data/reports/perl.tap")), @"
        passed   adds  -
        failed   fails  -
        skipped  test 3  no GPU
        xfailed  todo fails  known bug
        xpassed  todo passes  known bug
        failed   letters  -
        passed   inner  -
        ");
        insta::assert_snapshot!(told(include_str!("../../../tests/data/reports/perl-killed.tap")), @r#"
        passed   first  -
        lost     (tests that were planned)  nothing was heard of 2 of 3 tests
        ! 3 tests were planned, and 1 were reported
        "#);
    }

    #[test]
    fn what_prove_writes() {
        insta::assert_snapshot!(told(include_str!("../../../tests/data/reports/prove.tap")), @"
        passed   t/a.t: adds  -
        passed   t/a.t: more  -
        xfailed  t/a.t: later  bug
        skipped  t/a.t: test 4  no GPU
        passed   t/b.t: adds  -
        failed   t/b.t: bad  -
        passed   t/b.t: inner  -
        skipped  t/c.t: (all tests)  no MPI
        ");
        let skipped =
            "t/c.t .. skipped: no MPI\nFiles=1, Tests=0,  0 wallclock secs\nResult: NOTESTS\n";
        assert!(is_likely(skipped));
        assert_eq!(told(skipped), "skipped  t/c.t: (all tests)  no MPI\n");
        // One test too many of one program does not make up for one that is missing of another.
        let shifted = "t/a.t .. \n1..1\nok 1\nok 2\nt/b.t .. \n1..2\nok 1\n";
        assert_eq!(
            told(shifted),
            "passed   t/a.t: test 1  -\npassed   t/a.t: test 2  -\npassed   t/b.t: test 1  -\n\
             lost     t/b.t: (tests that were planned)  nothing was heard of 1 of 2 tests\n\
             ! t/a.t: 1 tests were planned, and 2 were reported\n! t/b.t: 2 tests were planned, and 1 were reported\n"
        );
    }

    #[test]
    fn tests_in_all_their_shapes() {
        let check = |text: &str, expected: &str| assert_eq!(told(text), expected, "{text}");
        check("1..1\nok\n", "passed   test 1  -\n");
        check("ok 1 hash \\# in it\n1..1", "passed   hash # in it  -\n");
        check("not ok - 3 # skip later\n1..1", "skipped  3  later\n");
        check("ok 2nd try\n1..1", "passed   2nd try  -\n");
        check("not ok 1 - see #12\n# why\n1..1", "failed   see #12  why\n");
        check("okay\nok 1\n", "passed   test 1  -\n");
        check("1..0 # SKIP no MPI\n", "skipped  (all tests)  no MPI\n");
        check("1..0 # skipped: no MPI\n", "skipped  (all tests)  no MPI\n");
        check("1..0 # nothing yet\n", "");
        check(
            "1..3\nok 1\nBail out!  disk full\n",
            "passed   test 1  -\nlost     (tests that were planned)  nothing was heard of 2 of 3 tests\n\
             ! it bailed out: disk full\n! 3 tests were planned, and 1 were reported\n",
        );
        check(
            "1..1\nok 1\nok 2\n",
            "passed   test 1  -\npassed   test 2  -\n! 1 tests were planned, and 2 were reported\n",
        );
        assert!(!is_likely("ok, done\n1..2\n"));
        assert!(!is_likely("ok 1\n"));
        assert!(is_likely("1..0 # SKIP none\n") && !is_likely("1..0\n"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(ok|not ok| |1|\\.\\.|#|skip|TODO|\\\\|-|\n|.){0,40}") {
            let _read = read(&text).is_ok();
        }
    }
}
