//! Which ranks reached which lines, against a reference that evaluates every rank singly.

use std::collections::BTreeMap;

use super::super::export::LineRanks;
use super::super::rank_hits::{Programs, RankHits, RankWatch};
use super::super::rank_report::{self, Sample};
use super::super::reduce::{Options as ReduceOptions, reduce_watched};
use super::*;

/// The lines of each file that some rank reached, with the ranks.
type Reached = BTreeMap<(String, u32), Vec<u32>>;

fn programs(fixture: &Fixture) -> Programs {
    let mut programs = Programs::default();
    for object in &fixture.objects {
        programs
            .add(&super::super::object::sections(object.as_slice()).unwrap())
            .unwrap();
    }
    programs
}

fn hits(programs: &Programs, profiles: &[Vec<u8>], ranks: &[Option<u32>]) -> RankHits {
    let watch = RankWatch::new(programs, ranks);
    let reduction = reduce_watched(&InMemory(profiles), &ReduceOptions::default(), &watch);
    assert!(reduction.outcomes.iter().all(reduce::Outcome::is_used));
    watch.finish()
}

/// Calls `with` with the coverage of all profiles together.
fn with_coverage<T>(
    fixture: &Fixture,
    profiles: &[Vec<u8>],
    with: impl FnOnce(&Coverage<'_>) -> T,
) -> T {
    let reduction = add_up(profiles);
    let counts = Counts::new(reduction.binaries.iter().map(|binary| &binary.profile));
    let mut coverage = Coverage::new(&counts, Options { clamp: true });
    for object in &fixture.objects {
        coverage
            .add(&super::super::object::sections(object.as_slice()).unwrap())
            .unwrap();
    }
    with(&coverage)
}

/// Evaluates each rank as if it were the only one.
fn one_by_one(fixture: &Fixture, profiles: &[Vec<u8>], ranks: &[Option<u32>]) -> Reached {
    let mut reached = Reached::new();
    for (profile, rank) in profiles.iter().zip(ranks) {
        with_coverage(fixture, std::slice::from_ref(profile), |coverage| {
            let files = coverage.files();
            for file in (0..files.len()).map(|at| files.get(at).unwrap()) {
                for (line, _) in file.lines.iter().filter(|(_, count)| *count > 0) {
                    reached
                        .entry((file.path.to_string(), *line))
                        .or_default()
                        .extend(*rank);
                }
            }
        });
    }
    for ranks in reached.values_mut() {
        ranks.sort_unstable();
        ranks.dedup();
    }
    reached
}

fn check(fixture: &Fixture, profiles: &[Vec<u8>], ranks: &[Option<u32>], hits: &RankHits) {
    let expected = one_by_one(fixture, profiles, ranks);
    let mut seen = 0;
    with_coverage(fixture, profiles, |coverage| {
        let files = coverage.files();
        for at in 0..files.len() {
            let path = files.get(at).unwrap().path.to_string();
            for found in files.ranks(at, hits) {
                let LineRanks {
                    line,
                    ranks,
                    first,
                    last,
                } = found;
                let all = expected
                    .get(&(path.clone(), line))
                    .cloned()
                    .unwrap_or_default();
                let of = (
                    u32::try_from(all.len()).unwrap(),
                    all.first().copied(),
                    all.last().copied(),
                );
                assert_eq!(
                    (ranks, first, last),
                    (of.0, of.1.unwrap_or(0), of.2.unwrap_or(0)),
                    "{path}:{line}"
                );
                seen += usize::from(ranks > 0);
            }
        }
    });
    assert_eq!(seen, expected.len(), "{}", fixture.name);
}

fn some(ranks: impl IntoIterator<Item = u32>) -> Vec<Option<u32>> {
    ranks.into_iter().map(Some).collect()
}

#[test]
fn ranks_together_reach_what_each_reaches_alone() {
    for fixture in fixtures() {
        let ranks = some(0..u32::try_from(fixture.profiles.len()).unwrap());
        let hits = hits(&programs(&fixture), &fixture.profiles, &ranks);
        check(&fixture, &fixture.profiles, &ranks, &hits);
    }
}

#[test]
fn many_ranks_with_random_counts_reach_what_each_reaches_alone() {
    let mut random = Random(5);
    for fixture in fixtures()
        .into_iter()
        .filter(|fixture| !fixture.name.contains("variants"))
    {
        // Ranks that mostly do as their neighbours, as ranks do; some have several processes.
        let mut profiles: Vec<Vec<u8>> = Vec::new();
        for at in 0..150 {
            let base = &fixture.profiles[random.below(fixture.profiles.len())];
            let like_before = profiles.last().filter(|_| random.below(4) > 0).cloned();
            profiles.push(
                like_before.unwrap_or_else(|| differential::scatter(base, 3 + at % 9, &mut random)),
            );
        }
        let mut ranks = some((0..150).map(|at| at / 2 * 3));
        ranks[7] = None;
        let programs = programs(&fixture);
        let whole = hits(&programs, &profiles, &ranks);
        let known: Vec<_> = (0..150)
            .filter(|&at| ranks[at].is_some())
            .map(|at| profiles[at].clone())
            .collect();
        let of_known: Vec<_> = ranks.iter().flatten().copied().map(Some).collect();
        check(&fixture, &known, &of_known, &whole);

        // Neither the order nor the node that a rank ran on changes anything, nor does storing.
        let order: Vec<_> = (0..150).rev().collect();
        let turned = order
            .iter()
            .map(|&at: &usize| profiles[at].clone())
            .collect::<Vec<_>>();
        let turned_ranks: Vec<_> = order.iter().map(|&at| ranks[at]).collect();
        assert!(hits(&programs, &turned, &turned_ranks) == whole);
        let mut nodes = RankHits::default();
        for (profiles, ranks) in profiles.chunks(40).zip(ranks.chunks(40)) {
            let stored = hits(&programs, profiles, ranks).to_json();
            nodes.merge(&RankHits::from_json(&stored).unwrap());
        }
        assert!(nodes == whole);
        assert!(nodes.to_json() == whole.to_json());
    }
}

#[test]
fn a_report_says_what_only_some_ranks_reach() {
    let fixture = fixtures()
        .into_iter()
        .find(|fixture| fixture.name == "clang-22-ranks")
        .unwrap();
    let programs = programs(&fixture);
    let mut profiles = fixture.profiles.as_slice();
    let mut of_size = Vec::new();
    for size in [1, 2, 4, 8] {
        let (these, rest) = profiles.split_at(size as usize);
        of_size.push((size, hits(&programs, these, &some(0..size))));
        profiles = rest;
    }
    let names = [
        "ring[ranks=1]",
        "ring[ranks=2]",
        "ring[ranks=4]",
        "ring[ranks=8]",
    ];
    let sample = |(step, (size, hits))| Sample {
        step,
        test: "ring",
        size,
        hits,
    };
    let samples: Vec<_> = names
        .into_iter()
        .zip(of_size.iter().map(|(size, hits)| (*size, hits)))
        .map(sample)
        .collect();
    let report = with_coverage(&fixture, &fixture.profiles, |coverage| {
        rank_report::report(&coverage.files(), &samples, |path| {
            path.strip_prefix("/src/").map(str::to_owned)
        })
    });
    insta::assert_snapshot!(report.to_text(), @r"
    9 lines that only some ranks reached
    4 lines that only rank 0 reached
        ranks.c:14-16
        ranks.c:22
    4 lines that rank 0 never reached
        ranks.c:9-10
        ranks.c:24-25
    5 lines that need more ranks
        ranks.c:9-10 (more than 1)
        ranks.c:24-25 (more than 1)
        ranks.c:28 (more than 4)
    ");
    insta::assert_snapshot!(
        serde_json::to_string(&report.files).unwrap(),
        @r#"{"ranks.c":[[4,7,0],[8,8,1],[9,10,2],[11,12,0],[14,16,3],[18,21,0],[22,22,3],[23,23,0],[24,25,4],[26,26,0],[27,27,5],[28,28,6],[29,29,0]]}"#
    );
    let at = |line| {
        let run = report.files["ranks.c"]
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&line))
            .unwrap();
        serde_json::to_string(&report.patterns[run.2 as usize]).unwrap()
    };
    insta::assert_snapshot!(
        at(10),
        @r#"{"kinds":["some_ranks","never_rank_0","only_above"],"reached":[{"sample":1,"ranks":1,"first":1,"last":1},{"sample":2,"ranks":1,"first":1,"last":1},{"sample":3,"ranks":1,"first":1,"last":1}],"only_above":1}"#
    );
    insta::assert_snapshot!(
        at(28),
        @r#"{"kinds":["all_ranks","only_above"],"reached":[{"sample":3,"ranks":8,"first":0,"last":7}],"only_above":4}"#
    );
    // A step that only rank 0 ran says nothing of rank 0 alone.
    let alone = with_coverage(&fixture, &fixture.profiles, |coverage| {
        rank_report::report(&coverage.files(), &samples[..1], |path| {
            Some(path.to_owned())
        })
    });
    assert!(
        alone
            .totals
            .keys()
            .all(|kind| *kind == rank_report::Kind::AllRanks),
        "{:?}",
        alone.totals
    );
}

/// A node's record comes from where a step may write.
#[test]
fn rank_hits_take_no_more_memory_than_their_text_is_worth() {
    let stored = |sets: &str, functions: &str| {
        format!(r#"{{"schema_version":1,"ranks":"0-1","sets":[{sets}],"functions":[{functions}]}}"#)
    };
    let sets: Vec<String> = (0..20)
        .map(|at| format!("\"0-{}\"", 16_000_000 + at))
        .collect();
    let error = RankHits::from_json(&stored(&sets.join(","), "")).unwrap_err();
    assert!(error.to_string().contains("16 MiB"), "{error}");
    let set = stored("\"0-16000000\"", "");
    assert!(RankHits::from_json(&set).is_ok());
}

#[test]
fn damaged_rank_hits_are_refused() {
    let fixture = fixtures()
        .into_iter()
        .find(|fixture| fixture.name == "rustc-22")
        .unwrap();
    let hits = hits(&programs(&fixture), &fixture.profiles, &some(0..3));
    let text = hits.to_json();
    assert!(RankHits::from_json(&text).unwrap() == hits);
    let wrong = |from: &str, to: &str| {
        RankHits::from_json(&text.replace(from, to))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        wrong("\"schema_version\":1", "\"schema_version\":9"),
        "rank hits of version 9"
    );
    assert_eq!(
        wrong("\"ranks\":\"0-2\"", "\"ranks\":\"2-0\""),
        "`2-0` is no set of ranks such as `0-3,7`"
    );
    assert_eq!(wrong("}", ""), "not the rank hits of a reduction");
    let mut random = Random(6);
    for _ in 0..if full() { 10_000 } else { 300 } {
        let mut bytes = text.clone().into_bytes();
        let at = random.below(bytes.len());
        bytes[at] = b"0123456789,-\"[]{}:x"[random.below(19)];
        if let Ok(hits) = RankHits::from_json(&String::from_utf8(bytes).unwrap()) {
            with_coverage(&fixture, &fixture.profiles, |coverage| {
                coverage.files().ranks(0, &hits)
            });
        }
    }
}
