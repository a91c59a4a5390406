//! Counted source spans to counted lines, in the way of `llvm-cov`.
//!
//! A file's spans overlap: a loop's body lies in its function's, an `#if`'s in both. They are first turned into
//! *segments*, places where another count begins to hold, and then into one count a line: the largest of what held when
//! the line began and of what began on it. The rules are those of `SegmentBuilder` and `LineCoverageStats` in
//! `llvm/lib/ProfileData/Coverage/CoverageMapping.cpp` of LLVM 22, including where they surprise; readers compare the
//! outcome with `llvm-cov` byte by byte.
//!
//! What is counted is up to the caller: executions, or sets of ranks, as long as it is a [`Tally`].

/// A line and a column, in the order of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place(u64);

impl Place {
    /// Returns the place of a line and a column, both counted from 1.
    #[must_use]
    pub fn new(line: u32, column: u32) -> Self {
        Self(u64::from(line) << 32 | u64::from(column))
    }

    /// Returns the line.
    #[must_use]
    pub fn line(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)
    }
}

/// What a span is, in the order in which spans of one place go before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Code.
    Code,
    /// The use of a macro, counted where it expands.
    Expansion,
    /// Text that the preprocessor left out.
    Skipped,
    /// The space between statements, which counts only for lines where nothing begins.
    Gap,
}

/// A piece of source text and how often it ran.
#[derive(Debug, Clone, Copy)]
pub struct Span<T> {
    /// Its first character.
    pub start: Place,
    /// The place behind its last character.
    pub end: Place,
    /// What it is.
    pub kind: Kind,
    /// Its count.
    pub tally: T,
}

impl<T> Span<T> {
    /// Returns what spans are sorted by: outer ones come before those within.
    #[must_use]
    pub fn order(&self) -> impl Ord + use<T> {
        (self.start, std::cmp::Reverse(self.end), self.kind)
    }
}

/// How counts of spans combine.
pub trait Tally {
    /// A count.
    type Count: Copy + PartialEq;

    /// The count of what never ran.
    const NONE: Self::Count;

    /// Whether a segment that repeats the count before it is left out, which shows where skipped text begins.
    const ELIDES: bool;

    /// Returns the count of a span that two functions, or two instances of one, have in common.
    fn add(&mut self, a: Self::Count, b: Self::Count) -> Self::Count;

    /// Returns the count of a line on which both hold.
    fn max(&mut self, a: Self::Count, b: Self::Count) -> Self::Count;
}

/// Counts of executions. They wrap, as they do in `llvm-cov`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Executions;

impl Tally for Executions {
    type Count = u64;
    const NONE: u64 = 0;
    const ELIDES: bool = true;

    fn add(&mut self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }

    fn max(&mut self, a: u64, b: u64) -> u64 {
        a.max(b)
    }
}

/// Calls `each` with every line that has a count, in order. The spans are left sorted.
pub fn for_each_line<T: Tally>(
    spans: &mut Vec<Span<T::Count>>,
    tally: &mut T,
    each: impl FnMut(u32, T::Count),
) {
    sort(spans);
    combine(spans, tally);
    let lines = Lines {
        tally,
        each,
        line: 0,
        before: None,
        first_skips: false,
        mapped: false,
        begins: None,
        last: None,
    };
    let mut builder = Builder {
        lines,
        active: Vec::new(),
        completed: Vec::new(),
        earliest: Place(u64::MAX),
    };
    for (at, span) in spans.iter().enumerate() {
        builder.add(span, spans.get(at + 1).map(|next| next.start));
    }
    builder.finish();
}

fn sort<C>(spans: &mut [Span<C>]) {
    // Functions come in the order of the text and so do their spans: mostly there is nothing to do.
    if !spans.is_sorted_by_key(Span::order) {
        spans.sort_by_key(Span::order);
    }
}

/// Makes one span of those that cover the same text, adding the counts of the same kind: a macro that is nothing but
/// another macro would be counted twice else.
fn combine<T: Tally>(spans: &mut Vec<Span<T::Count>>, tally: &mut T) {
    spans.dedup_by(|next, kept| {
        let same = (next.start, next.end) == (kept.start, kept.end);
        if same && next.kind == kept.kind {
            kept.tally = tally.add(kept.tally, next.tally);
        }
        same
    });
}

/// Spans to segments.
struct Builder<'a, T: Tally, F> {
    lines: Lines<'a, T, F>,
    active: Vec<Active<T::Count>>,
    /// Memory for those that end together.
    completed: Vec<Active<T::Count>>,
    /// No active span ends before this place.
    earliest: Place,
}

#[derive(Clone, Copy)]
struct Active<C> {
    end: Place,
    kind: Kind,
    tally: C,
}

/// A place from which on another count holds.
#[derive(Clone, Copy)]
struct Segment<C> {
    line: u32,
    /// None where nothing is counted.
    count: Option<C>,
    /// Whether a span begins here, rather than an outer one going on.
    entry: bool,
    gap: bool,
}

impl<T: Tally, F: FnMut(u32, T::Count)> Builder<'_, T, F> {
    fn add(&mut self, span: &Span<T::Count>, next: Option<Place>) {
        if self.earliest <= span.start {
            self.complete_until(span.start);
        }
        let this = Active {
            end: span.end,
            kind: span.kind,
            tally: span.tally,
        };
        let entry = span.kind != Kind::Gap;
        if span.start == span.end {
            // An empty span never becomes active; the last of a file ends what is counted.
            let skipped = next.is_none() || span.kind == Kind::Skipped;
            let around = self.active.last().copied();
            self.emit(around.unwrap_or(this), span.start, entry, skipped);
            if let (true, Some(around)) = (skipped, around) {
                self.emit(around, span.start, false, false);
            }
            return;
        }
        if next != Some(span.start) {
            self.emit(this, span.start, entry, false);
        }
        self.earliest = self.earliest.min(span.end);
        self.active.push(this);
    }

    fn complete_until(&mut self, place: Place) {
        let mut completed = std::mem::take(&mut self.completed);
        // What goes on stays in front, what has ended goes to the back, each in its order.
        completed.extend(self.active.extract_if(.., |active| active.end <= place));
        self.complete(Some(place), &mut completed);
        completed.clear();
        self.completed = completed;
        let ends = self.active.iter().map(|active| active.end);
        self.earliest = ends.min().unwrap_or(Place(u64::MAX));
    }

    fn finish(mut self) {
        let mut rest = std::mem::take(&mut self.active);
        self.complete(None, &mut rest);
        self.lines.finish();
    }

    /// Ends spans, each giving way to the one that ends next and the last to what goes on around them.
    fn complete(&mut self, until: Option<Place>, completed: &mut [Active<T::Count>]) {
        completed.sort_by_key(|active| active.end);
        for (at, pair) in completed.windows(2).enumerate() {
            let [ended, following] = pair else { continue };
            if until == Some(ended.end) {
                break;
            }
            if ended.end == following.end {
                continue;
            }
            let rest = completed.get(at + 1..).unwrap_or_default();
            let alike = rest.iter().take_while(|other| other.end == following.end);
            self.emit(*alike.last().unwrap_or(following), ended.end, false, false);
        }
        let Some(last) = completed.last().filter(|last| until != Some(last.end)) else {
            return;
        };
        match self.active.last().copied() {
            Some(around) => self.emit(around, last.end, false, false),
            None => self.emit(*last, last.end, false, true),
        }
    }

    fn emit(&mut self, span: Active<T::Count>, place: Place, entry: bool, skipped: bool) {
        let count = (!skipped && span.kind != Kind::Skipped).then_some(span.tally);
        if T::ELIDES
            && !entry
            && !skipped
            && let Some(last) = self.lines.last
            && !last.entry
            && last.count.is_some() == count.is_some()
            && last.count.unwrap_or(T::NONE) == span.tally
        {
            return;
        }
        self.lines.add(Segment {
            line: place.line(),
            count,
            entry,
            gap: count.is_some() && span.kind == Kind::Gap,
        });
    }
}

/// Segments to lines.
struct Lines<'a, T: Tally, F> {
    tally: &'a mut T,
    each: F,
    /// The line whose segments are being collected.
    line: u32,
    /// The last segment before the line.
    before: Option<Segment<T::Count>>,
    /// Whether the line's first segment begins skipped text.
    first_skips: bool,
    /// Whether a counted span begins on the line.
    mapped: bool,
    /// The largest count that begins on the line, gaps left aside.
    begins: Option<T::Count>,
    /// The last segment so far.
    last: Option<Segment<T::Count>>,
}

impl<T: Tally, F: FnMut(u32, T::Count)> Lines<'_, T, F> {
    fn add(&mut self, segment: Segment<T::Count>) {
        let first = segment.line > self.line || self.last.is_none();
        if first {
            self.end_line();
            if let Some(Segment {
                count: Some(count), ..
            }) = self.last
            {
                (self.line + 1..segment.line).for_each(|line| (self.each)(line, count));
            }
            self.line = segment.line;
            self.before = self.last;
            (self.mapped, self.begins) = (false, None);
            self.first_skips = segment.entry && segment.count.is_none();
        }
        if let (true, Some(count)) = (segment.entry, segment.count) {
            self.mapped = true;
            if !segment.gap {
                self.begins = Some(
                    self.begins
                        .map_or(count, |other| self.tally.max(other, count)),
                );
            }
        }
        self.last = Some(segment);
    }

    fn end_line(&mut self) {
        if self.last.is_none() {
            return;
        }
        let before = self.before.and_then(|segment| segment.count);
        if self.mapped || !self.first_skips && before.is_some() {
            let count = match (before, self.begins) {
                (Some(a), Some(b)) => self.tally.max(a, b),
                (a, b) => a.or(b).unwrap_or(T::NONE),
            };
            (self.each)(self.line, count);
        }
    }

    fn finish(mut self) {
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A span is `(line, column)` to `(line, column)`, its kind and its count.
    type Row = ((u32, u32), (u32, u32), Kind, u64);

    fn check(rows: &[Row], expected: &[(u32, u64)]) {
        let place = |(line, column)| Place::new(line, column);
        let span = |&(start, end, kind, tally): &Row| Span {
            start: place(start),
            end: place(end),
            kind,
            tally,
        };
        let mut spans: Vec<_> = rows.iter().map(span).collect();
        for _ in 0..rows.len().max(1) {
            let mut lines = Vec::new();
            for_each_line(&mut spans.clone(), &mut Executions, |line, count| {
                lines.push((line, count));
            });
            assert_eq!(lines, expected, "{rows:?}");
            spans.rotate_left(rows.len().min(1));
        }
    }

    #[test]
    fn a_line_has_the_largest_count_that_holds_or_begins_on_it() {
        use Kind::{Code, Expansion, Gap, Skipped};
        check(&[], &[]);
        check(&[((1, 1), (3, 2), Code, 5)], &[(1, 5), (2, 5), (3, 5)]);
        // A loop's body within a function; what goes on after it counts again on the next line only.
        check(
            &[((1, 1), (5, 2), Code, 1), ((2, 10), (4, 4), Code, 9)],
            &[(1, 1), (2, 9), (3, 9), (4, 9), (5, 1)],
        );
        // A branch that never ran on the line of its condition.
        check(
            &[((1, 1), (3, 2), Code, 2), ((2, 9), (2, 12), Code, 0)],
            &[(1, 2), (2, 2), (3, 2)],
        );
        // Nothing holds between functions.
        check(
            &[((1, 1), (2, 2), Code, 1), ((5, 1), (5, 9), Code, 0)],
            &[(1, 1), (2, 1), (5, 0)],
        );
        // A gap counts only for lines where nothing else begins.
        check(
            &[
                ((1, 1), (5, 2), Code, 3),
                ((2, 5), (4, 3), Gap, 0),
                ((4, 3), (4, 9), Code, 7),
            ],
            &[(1, 3), (2, 3), (3, 0), (4, 7), (5, 3)],
        );
        // Lines that the preprocessor left out have no count, nor has the one on which that ends.
        check(
            &[((1, 1), (5, 2), Code, 3), ((2, 1), (4, 1), Skipped, 0)],
            &[(1, 3), (5, 3)],
        );
        // Instances of a template add up; a macro that is nothing but a macro does not.
        check(
            &[((1, 1), (1, 9), Code, 3), ((1, 1), (1, 9), Code, 4)],
            &[(1, 7)],
        );
        check(
            &[((1, 1), (1, 9), Code, 3), ((1, 1), (1, 9), Expansion, 4)],
            &[(1, 3)],
        );
        check(
            &[((1, 1), (1, 9), Code, u64::MAX), ((1, 1), (1, 9), Code, 2)],
            &[(1, 1)],
        );
    }

    #[test]
    fn an_empty_last_span_counts_nothing_and_hides_its_line() {
        use Kind::Code;
        check(
            &[((1, 1), (3, 2), Code, 4), ((4, 1), (4, 1), Code, 4)],
            &[(1, 4), (2, 4), (3, 4)],
        );
        check(
            &[((1, 1), (3, 2), Code, 4), ((2, 3), (2, 3), Code, 9)],
            &[(1, 4), (3, 4)],
        );
    }
}
