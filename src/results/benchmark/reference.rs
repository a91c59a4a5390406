//! What a metric has to be on a certain machine, in `ReFrame`'s meaning: a value, and fractions of it as bounds.

use super::super::record::ReferenceRecord;

/// A value that a metric has to be near to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// The value.
    pub value: f64,
    /// How far below it the metric may be, as a fraction, not above 0; none: as far as it likes.
    pub lower: Option<f64>,
    /// How far above it the metric may be, as a fraction, not below 0; none: as far as it likes.
    pub upper: Option<f64>,
}

/// Returns the reference of a place among those by `CLUSTER:PARTITION`, `CLUSTER` and `*`: the most particular one.
#[must_use]
pub fn of_place<'r, T>(
    cluster: Option<&str>,
    partition: Option<&str>,
    get: impl Fn(&str) -> Option<&'r T>,
) -> Option<&'r T> {
    let cluster = cluster.unwrap_or("local");
    let both = partition.and_then(|partition| get(&format!("{cluster}:{partition}")));
    both.or_else(|| get(cluster)).or_else(|| get("*"))
}

impl Reference {
    /// Returns what it comes to for a median.
    #[must_use]
    pub fn judge(&self, median: f64) -> ReferenceRecord {
        // Of a negative value, the fraction below leads to the larger magnitude.
        let bound = |fraction: f64| self.value + self.value.abs() * fraction;
        let (low, high) = (self.lower.map(bound), self.upper.map(bound));
        ReferenceRecord {
            value: self.value,
            low,
            high,
            within: low.is_none_or(|low| median >= low) && high.is_none_or(|high| median <= high),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn bounds_are_fractions_of_the_value() {
        let check = |value, lower, upper, median, within| {
            let reference = Reference {
                value,
                lower,
                upper,
            };
            assert_eq!(
                reference.judge(median).within,
                within,
                "{reference:?} {median}"
            );
        };
        check(100.0, Some(-0.1), Some(0.05), 90.0, true);
        check(100.0, Some(-0.1), Some(0.05), 89.9, false);
        check(100.0, Some(-0.1), Some(0.05), 105.1, false);
        check(100.0, None, Some(0.05), 1.0, true);
        check(100.0, Some(-0.1), None, 1e9, true);
        check(-100.0, Some(-0.1), Some(0.1), -110.0, true);
        check(-100.0, Some(-0.1), Some(0.1), -111.0, false);
        check(0.0, Some(-0.1), Some(0.1), 0.1, false);
    }

    #[test]
    fn the_most_particular_place_counts() {
        let all = BTreeMap::from([("alps:batch", 1), ("alps", 2), ("*", 3)]);
        let find = |cluster, partition| of_place(cluster, partition, |key| all.get(key)).copied();
        assert_eq!(find(Some("alps"), Some("batch")), Some(1));
        assert_eq!(find(Some("alps"), Some("debug")), Some(2));
        assert_eq!(find(None, None), Some(3));
    }
}
