//! Where a run writes: here, and as a node sees it.

use super::listed;
use crate::config::Memory;
use crate::doctor::facts::{Facts, Folder, FolderFacts, Node, NodeAnswer, Subject};
use crate::doctor::finding::Finding;
use crate::launch::Place;

/// With less a run of any size fails.
const LITTLE_SPACE: u64 = 1 << 30;
const FEW_FILES: u64 = 10_000;
/// Clocks further apart make times of logs and accounting hard to compare.
const CLOCK_SHIFT: f64 = 5.0;
/// Further apart, jobs are not recognized as those that were just submitted.
const CLOCK_LIMIT: f64 = 300.0;
/// A file of a node that takes longer to be seen here slows every end of a step.
const SLOW_STORAGE: f64 = 10.0;

pub(super) fn judge(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = subject
        .folders
        .iter()
        .zip(&facts.folders)
        .map(|(folder, seen)| written(folder, seen, facts.place))
        .collect();
    let both = subject.folders.iter().zip(&facts.folders);
    findings.extend(both.filter_map(|(folder, seen)| exposed(folder, seen)));
    let odd: Vec<String> = subject
        .folders
        .iter()
        .filter(|folder| folder.path.to_str().is_none_or(|path| path.contains('%')))
        .map(|folder| folder.path.display().to_string())
        .collect();
    if !odd.is_empty() {
        findings.push(Finding::error(
            "storage.path",
            format!(
                "{} cannot stand in the name of a profile: it is not UTF-8 or holds a `%`",
                listed(&odd)
            ),
            "choose another folder in [workspace]",
        ));
    }
    findings.extend(node(subject, facts));
    findings
}

/// What others can change: a run refuses to begin where it would take scripts out of it.
fn exposed(folder: &Folder, seen: &FolderFacts) -> Option<Finding> {
    const CHECK: &str = "storage.owner";
    let error = seen.exposed.as_ref()?;
    let saw = format!("{error} (`{}` of [workspace])", folder.key);
    Some(if folder.inner.is_some() {
        Finding::error(CHECK, saw, error.help())
    } else {
        Finding::warning(CHECK, saw, error.help())
    })
}

fn written(folder: &Folder, seen: &FolderFacts, place: Place) -> Finding {
    const CHECK: &str = "storage.writable";
    let key = folder.key;
    let path = folder.path.display();
    if let Some(why) = &seen.refused {
        return Finding::error(
            CHECK,
            format!("nothing can be written to `{path}` (`{key}` of [workspace]): {why}"),
            format!("set `{key}` of [workspace] to a folder of yours"),
        );
    }
    let kind = seen
        .filesystem
        .map_or(String::new(), |kind| format!(", {kind}"));
    let free = seen.free.map_or(String::new(), |free| {
        format!(", {} free", Memory::from_bytes(free).rounded())
    });
    let saw = format!("`{path}` (`{key}`) can be written{kind}{free}");
    if folder.shared && place == Place::Job && seen.filesystem == Some("tmpfs") {
        return Finding::warning(
            CHECK,
            format!("{saw}; a tmpfs is in this machine's memory, which nodes do not see"),
            format!("set `{key}` of [workspace] to shared storage"),
        );
    }
    if folder.shared && seen.free.is_some_and(|free| free < LITTLE_SPACE) {
        return Finding::warning(
            CHECK,
            saw,
            format!("make room, or set `{key}` of [workspace] to larger storage"),
        );
    }
    if let Some(inodes) = seen.inodes.filter(|left| *left < FEW_FILES) {
        return Finding::warning(
            CHECK,
            format!("{saw}, room for {inodes} files"),
            "make room: a run writes some files for each rank of each step",
        );
    }
    Finding::ok(CHECK, saw)
}

fn node(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "node.answers";
    match &facts.node {
        Node::NotAsked(why) => vec![Finding::note(CHECK, format!("no node was asked: {why}"))],
        Node::Busy(said) => vec![
            Finding::note(
                CHECK,
                format!(
                    "no node was free within {} s, so nothing is known of shared storage, clocks and scratch there: {said}",
                    subject.wait.as_secs()
                ),
            )
            .remedy("`hpc-ci doctor --wait 10m` waits longer"),
        ],
        Node::Failed(said) => vec![Finding::error(
            CHECK,
            format!("a short job on a node failed: {said}"),
            "it asked for the `partition`, `account` and `qos` of most steps, which [scheduler] sets; by hand: \
             `srun -N1 -n1 -t1 hostname`, with the same as options",
        )],
        Node::Answered(answer) => answered(subject, answer),
    }
}

fn answered(subject: &Subject, answer: &NodeAnswer) -> Vec<Finding> {
    let mut findings = vec![shared(subject, answer)];
    if answer.sees {
        findings.push(match &answer.program_refused {
            None => Finding::ok("node.program", format!("hpc-ci runs on {}", answer.host)),
            Some(why) => Finding::error(
                "node.program",
                format!("hpc-ci does not run on {}: {why}", answer.host),
                "install the static build, which needs nothing but the kernel; README.md tells how",
            ),
        });
    }
    findings.push(scratch(answer));
    findings.extend(
        answer
            .clock
            .map(|(ahead, doubt)| clock(answer, ahead, doubt)),
    );
    findings
}

fn shared(subject: &Subject, answer: &NodeAnswer) -> Finding {
    const CHECK: &str = "storage.shared";
    let host = &answer.host;
    let root = subject
        .folders
        .first()
        .map_or_else(String::new, |folder| folder.path.display().to_string());
    let remedy =
        "set `root` of [workspace] to storage that all nodes see, such as `\"$SCRATCH/hpc-ci\"`";
    if !answer.sees {
        return Finding::error(
            CHECK,
            format!("node {host} does not see the workspace `{root}`"),
            remedy,
        );
    }
    match answer.seen_after.map(|after| after.as_secs_f64()) {
        None => Finding::error(
            CHECK,
            format!(
                "node {host} sees the workspace `{root}`, but what it writes there is not seen here"
            ),
            remedy,
        ),
        Some(after) if after > SLOW_STORAGE => Finding::warning(
            CHECK,
            format!(
                "node {host} shares the workspace, but its files were seen here only after {after:.0} s"
            ),
            "ends of steps are noticed late; storage with less caching of directories would be better",
        ),
        Some(_) => Finding::ok(
            CHECK,
            format!("node {host} reads and writes the workspace, and its files are seen here"),
        ),
    }
}

fn scratch(answer: &NodeAnswer) -> Finding {
    const CHECK: &str = "node.scratch";
    let (host, path) = (&answer.host, &answer.scratch);
    if let Some(why) = &answer.scratch_refused {
        return Finding::error(
            CHECK,
            format!("nothing can be written to `{path}` on node {host}: {why}"),
            "set `node_scratch` of [workspace] to a folder that every node has",
        );
    }
    let free = answer.scratch_free.map_or(String::new(), |free| {
        format!(", {} free", Memory::from_bytes(free).rounded())
    });
    Finding::ok(
        CHECK,
        format!("`{path}` on node {host} can be written{free}"),
    )
}

fn clock(answer: &NodeAnswer, ahead: f64, doubt: f64) -> Finding {
    const CHECK: &str = "node.clock";
    let host = &answer.host;
    let apart = (ahead.abs() - doubt).max(0.0);
    let remedy = "ask the operators to look after time synchronization (chrony, ntpd)";
    let way = if ahead > 0.0 { "ahead of" } else { "behind" };
    if apart > CLOCK_LIMIT {
        return Finding::error(
            CHECK,
            format!("the clock of node {host} is {apart:.0} s {way} ours"),
            remedy,
        );
    }
    if apart > CLOCK_SHIFT {
        return Finding::warning(
            CHECK,
            format!("the clock of node {host} is {apart:.0} s {way} ours"),
            remedy,
        );
    }
    Finding::ok(CHECK, format!("the clock of node {host} agrees with ours"))
}
