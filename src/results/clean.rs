//! What a log said last, and texts cut to a length.

pub(crate) use crate::clean::{one_line, printable};

/// Returns the last `count` lines that are not empty.
fn last_lines(text: &str, count: usize) -> Vec<String> {
    let text = printable(text);
    let lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|&line| line.to_owned())
        .collect()
}

/// Returns the last `count` lines of a log, without what launchers write below the program's own words when a rank has failed:
/// the outcome says it already. Where nothing else was said, theirs are returned.
pub(super) fn end_of_log(log: &str, count: usize) -> Vec<String> {
    let all = last_lines(log, usize::MAX);
    let mut own = Vec::new();
    let mut rest = all.as_slice();
    while let Some(line) = rest.first() {
        match notice(rest) {
            0 => {
                own.push(line.clone());
                rest = &rest[1..];
            }
            length => rest = &rest[length..],
        }
    }
    let mut lines = if own.is_empty() { all } else { own };
    lines.drain(..lines.len().saturating_sub(count));
    lines
}

/// How the notices of Open MPI's and MPICH's launchers begin, below a rule.
const NOTICES: &[&str] = &[
    "Primary job  terminated normally",
    "detected that one or more processes exited with non-zero status",
    "noticed that process rank",
    "BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES",
];

/// What MPICH's launcher writes below its notice.
const BELOW: &[&str] = &[
    "YOUR APPLICATION TERMINATED WITH THE EXIT STRING",
    "This typically refers to a problem with your application",
    "Please see the FAQ page for debugging suggestions",
];

/// Returns the length of a launcher's notice that these lines begin with, rules and all; 0 if they don't.
fn notice(lines: &[String]) -> usize {
    let Some((rule, rest)) = lines.split_first().filter(|(line, _)| is_rule(line)) else {
        return 0;
    };
    let end = rest.iter().position(|line| line == rule);
    let begins = |line: &String| NOTICES.iter().any(|notice| line.contains(notice));
    let Some(end) = end.filter(|_| rest.first().is_some_and(begins)) else {
        return 0;
    };
    let below = rest[end + 1..].iter();
    let is_below = |line: &&String| BELOW.iter().any(|text| line.starts_with(text));
    end + 2 + below.take_while(is_below).count()
}

fn is_rule(line: &str) -> bool {
    line.len() >= 40 && (line.bytes().all(|b| b == b'-') || line.bytes().all(|b| b == b'='))
}

/// Returns the first `length` characters, the last three of them dots if there were more.
pub(super) fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars()
        .take(length.saturating_sub(3))
        .chain("...".chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_and_lines() {
        assert_eq!(one_line(" a\n\n b\tc "), "a b c");
        assert_eq!(last_lines("1\n2  \n\n3\n", 2), ["2", "3"]);
        assert_eq!(last_lines("", 2), Vec::<String>::new());
        assert_eq!(shortened("größer", 6), "größer");
        assert_eq!(shortened("größeres", 6), "grö...");
    }

    #[test]
    fn launchers_do_not_hide_what_the_program_said() {
        let rule = "-".repeat(74);
        let openmpi = format!(
            "the reason\n{rule}\nPrimary job  terminated normally, but 1 process returned\na non-zero exit code.\n{rule}\n\
             {rule}\nmpiexec detected that one or more processes exited with non-zero status, thus causing\n\
             the job to be terminated. The first process to do so was:\n\n  Process name: [[29813,1],1]\n  Exit code:    7\n{rule}\n"
        );
        assert_eq!(end_of_log(&openmpi, 5), ["the reason"]);
        let double = "=".repeat(83);
        let mpich = format!(
            "one\ntwo\n{double}\n=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n=   EXIT CODE: 11\n{double}\n\
             YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Segmentation fault (signal 11)\n\
             This typically refers to a problem with your application.\n\
             Please see the FAQ page for debugging suggestions"
        );
        assert_eq!(end_of_log(&mpich, 1), ["two"]);
        let only = mpich.trim_start_matches("one\ntwo\n");
        assert_eq!(end_of_log(only, 9).len(), 7, "better than nothing");
        let table = format!("{rule}\nstep  residual\n{rule}\n");
        assert_eq!(end_of_log(&table, 9).len(), 3, "a program may draw rules");
        let open = format!("{rule}\nPrimary job  terminated normally, but\n");
        assert_eq!(end_of_log(&open, 9).len(), 2, "its end is missing");
    }
}
