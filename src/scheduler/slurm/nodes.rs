//! Slurm's short form of many node names: `n[1-3,07-09],login1`, `r[0-1]c[0-3]`.
//!
//! The format is that of `scontrol show hostnames`.

/// More names than this are no list of nodes but nonsense.
const MAX_NODES: usize = 200_000;

/// Returns each name of a node list. A list that cannot be understood is returned as it stands, as one name.
#[must_use]
pub fn expand(list: &str) -> Vec<String> {
    try_expand(list).unwrap_or_else(|| vec![list.to_owned()])
}

fn try_expand(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for item in items(list)? {
        names.extend(expand_item(item, MAX_NODES.checked_sub(names.len())?)?);
    }
    Some(names)
}

/// Splits at the commas that stand outside brackets.
fn items(list: &str) -> Option<Vec<&str>> {
    let (mut items, mut from, mut inside) = (Vec::new(), 0, false);
    for (at, c) in list.char_indices() {
        match (c, inside) {
            ('[', false) => inside = true,
            (']', true) => inside = false,
            ('[', true) | (']', false) => return None,
            (',', false) => {
                items.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(&list[from..]);
    (!inside && items.iter().all(|item| !item.is_empty())).then_some(items)
}

/// Expands the brackets of one item, the last one varying fastest.
fn expand_item(item: &str, room: usize) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut rest = item;
    while let Some((head, tail)) = rest.split_once('[') {
        let (ranges, tail) = tail.split_once(']')?;
        let numbers = numbers(ranges, room)?;
        if names.len().checked_mul(numbers.len())? > room {
            return None;
        }
        names = names
            .iter()
            .flat_map(|name| numbers.iter().map(move |n| format!("{name}{head}{n}")))
            .collect();
        rest = tail;
    }
    for name in &mut names {
        name.push_str(rest);
    }
    (names.len() <= room).then_some(names)
}

/// Expands `1-3,07-09`; a number keeps the leading zeros of the first of its range.
fn numbers(ranges: &str, room: usize) -> Option<Vec<String>> {
    let mut numbers = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if !first.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (low, high): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        if usize::try_from(high.checked_sub(low)?).ok()? >= room.checked_sub(numbers.len())? {
            return None;
        }
        let width = first.len();
        numbers.extend((low..=high).map(|n| format!("{n:0width$}")));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_a_node_list() {
        let check = |list: &str, expected: &[&str]| assert_eq!(expand(list), expected, "{list}");
        check("n1", &["n1"]);
        check("n1,m2", &["n1", "m2"]);
        check("n[1-3]", &["n1", "n2", "n3"]);
        check("n[1-2,07-09],m1", &["n1", "n2", "n07", "n08", "n09", "m1"]);
        check("n[099-101]", &["n099", "n100", "n101"]);
        check(
            "r[0-1]c[2-3]-ib",
            &["r0c2-ib", "r0c3-ib", "r1c2-ib", "r1c3-ib"],
        );
    }

    #[test]
    fn a_list_that_makes_no_sense_is_one_name() {
        for list in [
            "n[1-",
            "n]1[",
            "n[a-b]",
            "n[3-1]",
            "n[0-4294967295]",
            "n[+1-2]",
            "n[",
            ",",
            "n[[1]]",
            "n[]",
            "a[0-999]b[0-999]c[0-999]d[0-999]e[0-999]f[0-999]g[0-999]",
        ] {
            assert_eq!(expand(list), [list], "{list}");
        }
    }

    proptest! {
        #[test]
        fn expansion_takes_any_text(list in "[n0-9\\[\\],-]{0,40}") {
            prop_assert!(expand(&list).len() <= MAX_NODES);
        }
    }
}
