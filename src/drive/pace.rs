//! When the scheduler is asked next, and what is told of one that gives no answer. The clock is handed in.

use std::time::{Duration, Instant};

/// The least time between two questions to Slurm.
pub(super) const SHORTEST_TICK: Duration = Duration::from_millis(500);
/// The most time between two questions while nothing happens. Exit records are seen without a question.
const LONGEST_TICK: Duration = Duration::from_mins(3);
/// The same while the end of a step is expected whose exit record is here.
const EXPECTING_TICK: Duration = Duration::from_secs(5);
/// The most time between two tries to reach a scheduler that gives no answer.
pub(super) const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// Between two notices of a silence that lasts.
const NOTICE: Duration = Duration::from_mins(10);

/// When a question comes next.
#[derive(Debug)]
pub(super) struct Pace {
    tick: Duration,
    asked: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            tick: SHORTEST_TICK,
            asked: None,
        }
    }
}

impl Pace {
    /// Returns whether a question was asked at all.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Returns whether a question can be asked at all: the last one is long enough ago.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.asked.is_none_or(|asked| now >= asked + SHORTEST_TICK)
    }

    /// Returns whether it is time for a question; sooner if the end of a step is `expected`.
    pub(super) fn is_due(&self, now: Instant, expected: bool) -> bool {
        let tick = if expected {
            self.tick.min(EXPECTING_TICK)
        } else {
            self.tick
        };
        self.asked.is_none_or(|asked| now >= asked + tick)
    }

    /// A question was asked, or its answer did not come.
    pub(super) fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Something happened: more may.
    pub(super) fn news(&mut self) {
        self.tick = SHORTEST_TICK;
    }

    /// An answer came, with nothing new in it; `mix` is from 0 to 1.
    pub(super) fn quiet(&mut self, mix: f64) {
        self.tick = jittered((self.tick * 3 / 2).min(LONGEST_TICK), mix).max(SHORTEST_TICK);
    }

    /// No answer came.
    pub(super) fn silent(&mut self, now: Instant) {
        self.asked = Some(now);
        self.tick = (self.tick * 2).min(LONGEST_RETRY);
    }
}

/// Many drivers that were started at once shall not ask at once: from 0.9 to 1.1 times as long.
pub(super) fn jittered(tick: Duration, mix: f64) -> Duration {
    tick.mul_f64(0.9 + mix / 5.0)
}

/// Somebody who gives no answer: since when, and when that was told.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Silence {
    /// Takes in that there has been no answer since then; returns for how long, if that is to be told now.
    pub(super) fn missed(&mut self, since: Instant, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(since);
        let quiet = self
            .told
            .is_none_or(|told| now.duration_since(told) >= NOTICE);
        quiet.then(|| {
            self.told = Some(now);
            now.duration_since(since)
        })
    }

    /// Takes in an answer; returns for how long there was none.
    pub(super) fn over(&mut self, now: Instant) -> Option<Duration> {
        let silence = std::mem::take(self);
        silence.since.map(|since| now.duration_since(since))
    }

    /// Returns for how long there has been no answer, if there is none.
    pub(super) fn lasts(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for so long, with this answer each time; returns after how many seconds.
    fn questions(pace: &mut Pace, time: Duration, answer: fn(&mut Pace, Instant)) -> Vec<u64> {
        let begin = Instant::now();
        let step = Duration::from_millis(100);
        let mut asked = Vec::new();
        let mut now = begin;
        while now < begin + time {
            if pace.is_due(now, false) {
                pace.ask(now);
                asked.push(now.duration_since(begin).as_secs());
                answer(pace, now);
            }
            now += step;
        }
        asked
    }

    #[test]
    fn an_hour_in_which_nothing_happens_costs_few_questions() {
        let mut pace = Pace::default();
        let asked = questions(&mut pace, Duration::from_hours(1), |pace, _| {
            pace.quiet(0.5);
        });
        assert!(asked.len() <= 35, "{asked:?}");
        let last = asked.iter().rev().take(2).copied().collect::<Vec<_>>();
        assert_eq!(last[0] - last[1], LONGEST_TICK.as_secs());
        let mut pace = Pace::default();
        let asked = questions(&mut pace, Duration::from_secs(5), |pace, _| pace.news());
        assert_eq!(asked.len(), 10, "never more than two a second");
    }

    #[test]
    fn who_does_not_answer_is_asked_less_and_less() {
        let mut pace = Pace::default();
        let asked = questions(&mut pace, Duration::from_hours(1), Pace::silent);
        assert!(asked.len() <= 68, "{asked:?}");
    }

    #[test]
    fn an_exit_record_brings_the_next_question_forward() {
        let mut pace = Pace::default();
        let now = Instant::now();
        pace.ask(now);
        for _ in 0..20 {
            pace.quiet(0.5);
        }
        assert!(!pace.is_open(now) && pace.is_open(now + SHORTEST_TICK));
        assert!(!pace.is_due(now + EXPECTING_TICK, false));
        assert!(pace.is_due(now + EXPECTING_TICK, true));
    }

    #[test]
    fn silence_is_told_at_once_and_then_from_time_to_time() {
        let begin = Instant::now();
        let mut silence = Silence::default();
        assert_eq!(silence.lasts(begin), None);
        let mut told = Vec::new();
        for minute in 0..25 {
            let now = begin + Duration::from_mins(minute);
            told.extend(silence.missed(begin, now).map(|since| since.as_secs() / 60));
        }
        assert_eq!(told, [0, 10, 20]);
        let back = begin + Duration::from_mins(30);
        assert_eq!(silence.lasts(back), Some(Duration::from_mins(30)));
        assert_eq!(silence.over(back), Some(Duration::from_mins(30)));
        assert_eq!(silence.over(back), None);
    }
}
