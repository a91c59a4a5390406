//! What a terminal shows while a run goes on: a table of its steps by state. No clock, and no terminal.

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use unicode_width::UnicodeWidthStr as _;

use super::board::{Board, Queue, Running};
use super::lines::names;
use super::words::{clock, watch};
use crate::clean::one_line;
use crate::drive::progress::{IN_PACK, Stage, StageKind};
use crate::results::table::{Cell, Ink, Tone, fitted, table};

/// Room that names of steps have, unless all are shorter; columns that leave less are left out.
const NAME: usize = 20;
/// Columns of a list of nodes.
const NODES: usize = 16;
/// Columns of a reason for waiting, of a terminal that is not narrow.
const REASON: usize = 32;
/// Between two columns.
const GAP: usize = 2;

/// How large a terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Returns the lines that show how far a run is, none of them wider than the terminal: in its lower half, so that what has
/// happened can be read above.
pub(super) fn lines(
    board: &Board,
    activity: &str,
    now: DateTime<FixedOffset>,
    size: Size,
    ink: Ink,
) -> Vec<String> {
    // In the last column a terminal would wrap, some at once and some with the next character.
    let columns = size.columns.saturating_sub(1).max(1);
    let room = (size.rows / 2)
        .max(3)
        .min(size.rows.saturating_sub(1))
        .max(1);
    let page = Page {
        board,
        now,
        columns,
        ink,
    };
    match board.stages.last() {
        Some((stage, since)) if board.total > 0 => page.steps(room, stage, *since),
        Some((stage, since)) => {
            let doing = one_line(&format!("{stage} {activity}"));
            vec![fitted(&format!("{doing} · {}", page.long(*since)), columns)]
        }
        None if activity.is_empty() => Vec::new(),
        None => vec![fitted(&one_line(activity), columns)],
    }
}

struct Page<'a> {
    board: &'a Board,
    now: DateTime<FixedOffset>,
    columns: usize,
    ink: Ink,
}

impl Page<'_> {
    fn long(&self, since: DateTime<Utc>) -> String {
        let long: TimeDelta = self.now.to_utc() - since;
        watch(long.to_std().unwrap_or_default())
    }

    fn steps(&self, room: usize, stage: &Stage, since: DateTime<Utc>) -> Vec<String> {
        let left = room - 1;
        let need = |rows: usize| if rows == 0 { 0 } else { rows + 1 };
        let waiting = self.waiting();
        let (running, wait) = (need(self.board.running_count()), need(waiting.len()));
        let wait = wait.min((left / 3).max(left.saturating_sub(running)));
        let mut lines = self.running(left - wait);
        lines.extend(self.block("WAITING", self.waits(), waiting, wait));
        lines.push(self.total(stage, since));
        lines
    }

    fn total(&self, stage: &Stage, since: DateTime<Utc>) -> String {
        let mut parts = self.board.counts();
        // A build may be a job of its own.
        if stage.kind != StageKind::Steps {
            parts.insert(0, one_line(&stage.to_string()));
        }
        parts.push(self.long(since));
        let line = fitted(&parts.join(" · "), self.columns);
        let bad = format!("{} not passed", self.board.bad);
        line.replacen(&bad, &self.ink.paint(Tone::Bad, &bad), 1)
    }

    /// A heading and rows, of which as many are shown as there is room for.
    fn block(&self, what: &str, count: usize, rows: Vec<String>, room: usize) -> Vec<String> {
        if rows.is_empty() || room < 2 {
            return Vec::new();
        }
        let heading = fitted(&format!("{what} {count}"), self.columns);
        let mut lines = vec![self.ink.paint(Tone::Strong, &heading)];
        let cut = cut(rows.len(), room);
        lines.extend(rows.into_iter().take(cut.0));
        lines.extend(
            cut.1
                .map(|more| fitted(&format!("and {more} more"), self.columns)),
        );
        lines
    }

    // ---- running

    fn running(&self, room: usize) -> Vec<String> {
        let count = self.board.running_count();
        if count == 0 || room < 2 {
            return Vec::new();
        }
        let (shown, more) = cut(count, room);
        let steps: Vec<(DateTime<Utc>, &Running)> = self.board.running().take(shown).collect();
        let all = [Column::Job, Column::Ranks, Column::Nodes, Column::Elapsed];
        let fewer = [
            &all[..],
            &[Column::Job, Column::Ranks, Column::Elapsed],
            &[Column::Job, Column::Elapsed],
            &[Column::Elapsed],
            &[Column::Long],
        ];
        let title = format!("RUNNING {count}");
        let names: Vec<String> = steps
            .iter()
            .map(|(_, step)| one_line(&step.attempt.step))
            .collect();
        let widest = names.iter().map(|name| name.width()).max().unwrap_or(0);
        let wanted = widest.max(title.width()).min(NAME);
        let room_beside = |columns: &[Column]| {
            let beside: usize = columns
                .iter()
                .map(|column| self.width(*column, &steps) + GAP)
                .sum();
            self.columns.saturating_sub(beside)
        };
        let fits = |columns: &&[Column]| room_beside(columns) >= wanted;
        let columns = fewer.into_iter().find(fits).unwrap_or(&[]);
        let room = room_beside(columns);
        let mut heading = vec![Cell::text(fitted(&title, room), Tone::Strong)];
        heading.extend(
            columns
                .iter()
                .map(|column| column.cell(column.title(), Tone::Faint)),
        );
        let mut rows = vec![heading];
        for (name, (since, step)) in names.iter().zip(&steps) {
            let mut row = vec![Cell::text(fitted(name, room), Tone::Plain)];
            let cells = columns
                .iter()
                .map(|it| it.cell(&self.text(*it, *since, step), Tone::Plain));
            row.extend(cells);
            rows.push(row);
        }
        let mut lines: Vec<String> = table(&rows, self.ink).lines().map(str::to_owned).collect();
        lines.extend(more.map(|more| fitted(&format!("and {more} more"), self.columns)));
        lines
    }

    fn width(&self, column: Column, steps: &[(DateTime<Utc>, &Running)]) -> usize {
        let texts = steps
            .iter()
            .map(|(since, step)| self.text(column, *since, step).width());
        texts.max().unwrap_or(0).max(column.title().width())
    }

    fn text(&self, column: Column, since: DateTime<Utc>, step: &Running) -> String {
        let attempt = &step.attempt;
        match column {
            Column::Job => attempt.job.as_deref().map_or("-".to_owned(), short),
            Column::Ranks => attempt.ranks.to_string(),
            Column::Nodes if !step.nodes.is_empty() => fitted(&names(&step.nodes), NODES),
            Column::Nodes => attempt
                .nodes
                .map_or("-".to_owned(), |nodes| nodes.to_string()),
            Column::Elapsed => format!("{} of {}", self.long(since), watch(attempt.limit)),
            Column::Long => self.long(since),
        }
    }

    // ---- waiting

    fn waits(&self) -> usize {
        self.board.queued() + self.board.not_submitted()
    }

    fn waiting(&self) -> Vec<String> {
        let queue = |(reason, queue): (Option<&str>, &Queue)| {
            let reason = match reason {
                Some(IN_PACK) => "their pack runs".to_owned(),
                Some(reason) => one_line(reason),
                None => "submitted".to_owned(),
            };
            let first = queue.first().map(|first| clock(first, self.now));
            (
                reason,
                queue.steps,
                first.map(|first| format!("first starts {first}")),
            )
        };
        let mut groups: Vec<_> = self.board.queues().into_iter().map(queue).collect();
        let rest = self.board.not_submitted();
        if rest > 0 {
            groups.push(("not submitted yet".to_owned(), rest, None));
        }
        let rows: Vec<Vec<Cell>> = groups
            .into_iter()
            .map(|(reason, steps, first)| {
                vec![
                    Cell::text(fitted(&reason, REASON.min(self.columns / 2)), Tone::Plain),
                    Cell::figure(steps.to_string(), Tone::Plain),
                    Cell::text(first.unwrap_or_default(), Tone::Plain),
                ]
            })
            .collect();
        let text = table(&rows, Ink { colour: false });
        text.lines()
            .map(|line| fitted(line, self.columns))
            .collect()
    }
}

/// A column beside the names of the steps.
#[derive(Debug, Clone, Copy)]
enum Column {
    Job,
    Ranks,
    Nodes,
    /// How long of how long.
    Elapsed,
    /// How long.
    Long,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Job => "JOB",
            Self::Ranks => "RANKS",
            Self::Nodes => "NODES",
            Self::Elapsed => "ELAPSED",
            Self::Long => "",
        }
    }

    fn cell(self, text: &str, tone: Tone) -> Cell {
        match self {
            Self::Ranks | Self::Long => Cell::figure(text, tone),
            Self::Job | Self::Nodes | Self::Elapsed => Cell::text(text, tone),
        }
    }
}

/// How many of these rows are shown below a heading, and how many are not, if one line has to say so.
fn cut(rows: usize, room: usize) -> (usize, Option<usize>) {
    match room - 1 {
        1 => (1, None),
        room if rows <= room => (rows, None),
        room => (room - 1, Some(rows - (room - 1))),
    }
}

/// The name of a job as a table has room for: of a process of this machine its number.
fn short(job: &str) -> String {
    let pid = job
        .strip_prefix("local-")
        .and_then(|rest| rest.split_once('-'));
    one_line(pid.map_or(job, |(pid, _)| pid))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::sample::{self, at};
    use super::*;
    use crate::drive::progress::Progress;

    fn drawn(board: &Board, columns: usize, rows: usize, colour: bool) -> String {
        let size = Size { columns, rows };
        let lines = lines(board, "", at(100), size, Ink { colour });
        let wide = lines
            .iter()
            .map(|line| crate::clean::printable(line).width());
        assert!(wide.max().unwrap_or(0) < columns, "{lines:#?}");
        assert!(lines.len() < rows, "{lines:#?}");
        lines.join("\n")
    }

    #[test]
    fn steps_stand_by_state() {
        let board = sample::board();
        assert_snapshot!(drawn(&board, 100, 24, false), @"
        RUNNING 4                                                         JOB    RANKS  NODES  ELAPSED
        a step whose name is longer than any table of a sensible size h…  48213     16  n1,n2  1:02 of 5:00
        halo[ranks=4,features=rma]                                        48213      4  n1,n2  1:02 of 5:00
        solver/3d                                                         48213      8  n1,n2  1:02 of 5:00
        日本の計算[ranks=16]                                              48213     12  n1,n2  1:02 of 5:00
        WAITING 25
        Priority                          12  first starts about 15:49
        Resources                          3
        ReqNodeNotAvail, UnavailableNod…   1
        not submitted yet                  9
        11/40 done · 2 not passed · 4 running · 25 waiting · 1:40
        ");
        assert_snapshot!(drawn(&board, 60, 24, false), @"
        RUNNING 4                 JOB    RANKS  NODES  ELAPSED
        a step whose name is lo…  48213     16  n1,n2  1:02 of 5:00
        halo[ranks=4,features=r…  48213      4  n1,n2  1:02 of 5:00
        solver/3d                 48213      8  n1,n2  1:02 of 5:00
        日本の計算[ranks=16]      48213     12  n1,n2  1:02 of 5:00
        WAITING 25
        Priority                       12  first starts about 15:49
        Resources                       3
        ReqNodeNotAvail, Unavailable…   1
        not submitted yet               9
        11/40 done · 2 not passed · 4 running · 25 waiting · 1:40
        ");
        assert_snapshot!(drawn(&board, 40, 24, false), @"
        RUNNING 4                  ELAPSED
        a step whose name is lon…  1:02 of 5:00
        halo[ranks=4,features=rm…  1:02 of 5:00
        solver/3d                  1:02 of 5:00
        日本の計算[ranks=16]       1:02 of 5:00
        WAITING 25
        Priority             12  first starts …
        Resources             3
        ReqNodeNotAvail, U…   1
        not submitted yet     9
        11/40 done · 2 not passed · 4 running …
        ");
        assert_snapshot!(drawn(&board, 24, 24, false), @"
        RUNNING 4
        a step whose name is l…
        halo[ranks=4,features=…
        solver/3d
        日本の計算[ranks=16]
        WAITING 25
        Priority     12  first…
        Resources     3
        ReqNodeNot…   1
        not submit…   9
        11/40 done · 2 not pas…
        ");
        assert_snapshot!(drawn(&board, 10, 24, false), @"
        RUNNING 4
        a step w…
        halo[ran…
        solver/3d
        日本の計…
        WAITING …
        Pri…  12…
        Res…   3
        Req…   1
        not…   9
        11/40 do…
        ");
        assert_snapshot!(drawn(&board, 80, 16, false), @"
        RUNNING 4                                     JOB    RANKS  NODES  ELAPSED
        a step whose name is longer than any table …  48213     16  n1,n2  1:02 of 5:00
        halo[ranks=4,features=rma]                    48213      4  n1,n2  1:02 of 5:00
        solver/3d                                     48213      8  n1,n2  1:02 of 5:00
        日本の計算[ranks=16]                          48213     12  n1,n2  1:02 of 5:00
        WAITING 25
        Priority                          12  first starts about 15:49
        11/40 done · 2 not passed · 4 running · 25 waiting · 1:40
        ");
        assert_snapshot!(drawn(&board, 80, 10, false), @"
        RUNNING 4                                     JOB    RANKS  NODES  ELAPSED
        a step whose name is longer than any table …  48213     16  n1,n2  1:02 of 5:00
        and 3 more
        11/40 done · 2 not passed · 4 running · 25 waiting · 1:40
        ");
        assert_snapshot!(drawn(&board, 80, 4, false), @"
        RUNNING 4                                     JOB    RANKS  NODES  ELAPSED
        a step whose name is longer than any table …  48213     16  n1,n2  1:02 of 5:00
        11/40 done · 2 not passed · 4 running · 25 waiting · 1:40
        ");
        assert_snapshot!(drawn(&board, 80, 2, false), @"11/40 done · 2 not passed · 4 running · 25 waiting · 1:40");
        let colour = drawn(&board, 60, 24, true);
        assert_eq!(
            crate::clean::printable(&colour),
            drawn(&board, 60, 24, false)
        );
        assert_snapshot!(colour.escape_debug().to_string().replace("\\n", "\n"), @r"
        \u{1b}[1mRUNNING 4\u{1b}[0m                 \u{1b}[2mJOB\u{1b}[0m    \u{1b}[2mRANKS\u{1b}[0m  \u{1b}[2mNODES\u{1b}[0m  \u{1b}[2mELAPSED\u{1b}[0m
        a step whose name is lo…  48213     16  n1,n2  1:02 of 5:00
        halo[ranks=4,features=r…  48213      4  n1,n2  1:02 of 5:00
        solver/3d                 48213      8  n1,n2  1:02 of 5:00
        日本の計算[ranks=16]      48213     12  n1,n2  1:02 of 5:00
        \u{1b}[1mWAITING 25\u{1b}[0m
        Priority                       12  first starts about 15:49
        Resources                       3
        ReqNodeNotAvail, Unavailable…   1
        not submitted yet               9
        11/40 done · \u{1b}[1;31m2 not passed\u{1b}[0m · 4 running · 25 waiting · 1:40
        ");
    }

    #[test]
    fn a_stage_is_a_line() {
        let mut board = Board::default();
        assert_eq!(drawn(&board, 40, 24, false), "");
        board.take_in(
            &sample::began(StageKind::Build, "tests\u{1b}[2J"),
            at(29).to_utc(),
        );
        assert_eq!(drawn(&board, 40, 24, false), "build tests · 1:11");
        // It may be a job of its own.
        board.take_in(&Progress::Steps { total: 1 }, at(30).to_utc());
        let queued = sample::queued("build", Some("Priority"), None);
        board.take_in(&queued, at(30).to_utc());
        assert_eq!(
            drawn(&board, 50, 24, false),
            "WAITING 1\nPriority  1\nbuild tests · 0/1 done · 1 waiting · 1:11"
        );
        let line = board.line(at(100));
        assert_eq!(
            line.as_deref(),
            Some("build tests: 0/1 done · 1 waiting (Priority) · 1:11")
        );
        board.take_in(
            &sample::over(StageKind::Build, "tests\u{1b}[2J", true),
            at(40).to_utc(),
        );
        assert_eq!(drawn(&board, 40, 24, false), "");
        let size = Size {
            columns: 40,
            rows: 24,
        };
        let ink = Ink { colour: false };
        assert_eq!(
            lines(&board, "looking around", at(0), size, ink),
            ["looking around"]
        );
    }

    #[test]
    fn very_many_steps_take_no_more_lines() {
        let mut board = Board::default();
        board.take_in(&sample::began(StageKind::Steps, ""), at(0).to_utc());
        board.take_in(&Progress::Steps { total: 10_000 }, at(0).to_utc());
        for step in 0..10_000 {
            let name = format!("step {step}");
            let event = match step % 5 {
                0 => sample::running(&name, 1),
                1 => sample::ended(&name, "passed"),
                2 => sample::queued(&name, None, None),
                _ => sample::queued(&name, Some("Resources"), Some(at(4000).to_utc())),
            };
            board.take_in(&event, at(50).to_utc());
        }
        assert_snapshot!(drawn(&board, 72, 24, false), @"
        RUNNING 2000  JOB    RANKS  NODES  ELAPSED
        step 0        48213      1  n1,n2  1:02 of 5:00
        step 10       48213      1  n1,n2  1:02 of 5:00
        step 100      48213      1  n1,n2  1:02 of 5:00
        step 1000     48213      1  n1,n2  1:02 of 5:00
        step 1005     48213      1  n1,n2  1:02 of 5:00
        step 1010     48213      1  n1,n2  1:02 of 5:00
        and 1994 more
        WAITING 6000
        Resources  4000  first starts about 15:06
        submitted  2000
        2000/10000 done · 2000 running · 6000 waiting · 1:40
        ");
    }
}
