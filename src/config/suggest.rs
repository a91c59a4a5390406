//! What the writer of a misspelt word may have meant.

/// Returns the candidate nearest to `word`, if it is near enough to be meant.
#[must_use]
pub fn near<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let word = word.to_lowercase();
    let scored = candidates.iter().map(|candidate| {
        let distance = distance(&word, &candidate.to_lowercase());
        (distance, *candidate)
    });
    let best = scored.min_by_key(|(distance, _)| *distance)?;
    (best.0 <= allowed).then_some(best.1)
}

/// Words of other tools, and the keys that mean the same here.
const FOREIGN: [(&str, &str); 23] = [
    ("args", "command"),
    ("cmd", "command"),
    ("cpus", "cpus_per_rank"),
    ("depends_on", "needs"),
    ("dependencies", "needs"),
    ("duration", "time"),
    ("env", "environment"),
    ("flags", "options"),
    ("gpus", "gpus_per_rank"),
    ("iterations", "repetitions"),
    ("mem", "memory"),
    ("np", "ranks"),
    ("nprocs", "ranks"),
    ("ntasks", "ranks"),
    ("num_nodes", "nodes"),
    ("queue", "partition"),
    ("run", "command"),
    ("tasks", "ranks"),
    ("token", "token_env"),
    ("tasks_per_node", "ranks_per_node"),
    ("timeout", "time"),
    ("vars", "variables"),
    ("walltime", "time"),
];

/// Returns the known key that a misspelt or foreign one stands for.
pub(super) fn meant<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let folded = key.replace('-', "_").to_lowercase();
    let foreign = FOREIGN.iter().find(|(word, _)| *word == folded);
    let own = foreign.and_then(|(_, own)| known.iter().find(|known| *known == own).copied());
    near(&folded, known).or(own)
}

/// Returns a help line for a key that table `path` does not know.
pub(super) fn for_key(key: &str, path: &str, known: &[&str]) -> String {
    if let Some(meant) = meant(key, known) {
        return format!("did you mean `{meant}`?");
    }
    let mut elsewhere: Vec<String> = super::keys()
        .iter()
        .filter_map(|known| known.strip_suffix(&format!(".{key}")).map(str::to_owned))
        .filter(|table| table != path)
        .map(|table| format!("`[{table}]`"))
        .collect();
    if !elsewhere.is_empty() {
        elsewhere.truncate(3);
        return format!("`{key}` is a key of {}", elsewhere.join(", "));
    }
    let mut known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    known.sort();
    if known.is_empty() {
        return "there are no keys here".to_owned();
    }
    format!("known here: {}", known.join(", "))
}

/// Returns how many insertions, deletions, replacements and swaps of neighbours lie between two words.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let replaced = last[j] + usize::from(l != r);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        let known = ["ranks", "nodes", "ranks_per_node", "time"];
        let check = |word: &str, expected| assert_eq!(near(word, &known), expected, "{word}");
        check("rank", Some("ranks"));
        check("ranks", Some("ranks"));
        check("rnaks", Some("ranks"));
        check("tiem", Some("time"));
        check("Nodes", Some("nodes"));
        check("ranks_per_nodes", Some("ranks_per_node"));
        check("memory", None);
        check("", None);
        assert_eq!(near("x", &[]), None);
    }
}
