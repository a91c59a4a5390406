//! Damaged profiles, objects and tracefiles: no panic, no endless work, and nothing taken for what it is not.

use super::super::lcov::Tracefile;
use super::super::profile::{Header, MAX_HEADER};
use super::*;

fn rounds() -> usize {
    if full() { 10_000 } else { 600 }
}

/// Damages bytes in one of the ways in which files are damaged.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next().to_le_bytes()[0],
        2 => bytes.truncate(at),
        3 => {
            let extreme = [
                0,
                1,
                0x7f,
                0x80,
                1 << 31,
                1 << 32,
                u64::MAX / 8,
                u64::MAX / 2,
                u64::MAX,
            ][random.below(9)];
            let word = at - at % 8;
            bytes
                .iter_mut()
                .skip(word)
                .zip(u64::to_le_bytes(extreme))
                .for_each(|(to, from)| *to = from);
        }
        4 => {
            let end = (at + random.below(64)).min(bytes.len());
            bytes.drain(at..end);
        }
        5 => {
            let end = (at + random.below(64)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copy);
        }
        _ => bytes
            .iter_mut()
            .skip(at)
            .take(16)
            .for_each(|byte| *byte = 0xff),
    }
}

#[test]
fn damaged_profiles_are_refused_or_differ_in_counts_only() {
    let fixtures = fixtures();
    let mut random = Random(1);
    let full = reduce::Options {
        verify: reduce::Verify::Full,
        ..reduce::Options::default()
    };
    for _ in 0..rounds() {
        let fixture = &fixtures[random.below(fixtures.len())];
        let whole = &fixture.profiles[0];
        let mut damaged = whole.clone();
        for _ in 0..=random.below(3) {
            damage(&mut damaged, &mut random);
        }
        let reduction = reduce::reduce(&InMemory(&[whole.clone(), damaged.clone()]), &full);
        let before = reduce::reduce(&InMemory(std::slice::from_ref(whole)), &full);
        assert!(reduction.outcomes[0].is_used(), "{}", fixture.name);
        if reduction.outcomes[1].is_used() && reduction.binaries.len() == before.binaries.len() {
            assert_eq!(
                beside_counts(whole),
                beside_counts(&damaged),
                "{}",
                fixture.name
            );
        } else if !reduction.outcomes[1].is_used() {
            assert_eq!(reduction.binaries, before.binaries, "{}", fixture.name);
        }
    }
}

/// Returns what two profiles of one binary share.
fn beside_counts(bytes: &[u8]) -> Vec<(Header, Vec<u8>, Vec<u8>)> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let header = Header::parse(&rest[..rest.len().min(MAX_HEADER)])
            .unwrap()
            .identity();
        let layout = header.layout().unwrap();
        let part = |start: u64, end: u64| {
            rest[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].to_vec()
        };
        let head = part(layout.binary_ids.start, layout.data.start + layout.data.len);
        let names = part(layout.names.start, layout.names.start + layout.names.len);
        let end = usize::try_from(layout.end).unwrap();
        parts.push((header, head, names));
        rest = &rest[end..];
        let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
        rest = &rest[zeros..];
    }
    parts
}

#[test]
fn damaged_objects_are_refused_or_reported_within_bounds() {
    let fixtures = fixtures();
    let mut random = Random(2);
    let (mut refused, mut reported) = (0, 0);
    for _ in 0..rounds() {
        let fixture = &fixtures[random.below(fixtures.len())];
        let mut objects = fixture.objects.clone();
        let at = random.below(objects.len());
        for _ in 0..=random.below(3) {
            damage(&mut objects[at], &mut random);
        }
        let (text, problems) = report(&objects, &fixture.profiles);
        if problems.is_empty() {
            reported += 1;
        } else {
            refused += 1;
        }
        assert!(text.is_empty() || text.ends_with("end_of_record\n"));
    }
    assert!(
        refused > 10 && reported > 10,
        "{refused} refused, {reported} reported"
    );
}

#[test]
fn damaged_mappings_are_refused_or_reported_within_bounds() {
    // The header of an object file is most of it; here only what the engine itself reads is damaged.
    let fixtures = fixtures();
    let mut random = Random(3);
    for _ in 0..rounds() {
        let fixture = &fixtures[random.below(fixtures.len())];
        let reduction = add_up(&fixture.profiles);
        let counts = Counts::new(reduction.binaries.iter().map(|binary| &binary.profile));
        let sections = super::super::object::sections(fixture.objects[0].as_slice()).unwrap();
        let (mut covmap, mut names) = (sections.covmap.to_vec(), sections.names.to_vec());
        let mut covfun = sections.covfun.to_vec();
        match random.below(8) {
            0 => damage(&mut covmap, &mut random),
            1 => damage(&mut names, &mut random),
            _ => damage(&mut covfun, &mut random),
        }
        let damaged = super::super::object::Sections {
            build_id: None,
            covmap: &covmap,
            covfun: covfun.into(),
            names: &names,
        };
        let mut coverage = Coverage::new(&counts, Options::default());
        let outcome = coverage.add(&damaged);
        let mut text = Vec::new();
        coverage.files().write_lcov(&mut text).unwrap();
        assert!(
            outcome.is_ok() || text.is_empty(),
            "nothing of a refused object is reported"
        );
    }
}

#[test]
fn damaged_tracefiles_lose_no_line_in_silence() {
    let fixtures = fixtures();
    let mut random = Random(4);
    let mut complained = 0;
    for _ in 0..rounds() {
        let fixture = &fixtures[random.below(fixtures.len())];
        let mut text = fixture.expected.clone().into_bytes();
        for _ in 0..=random.below(3) {
            damage(&mut text, &mut random);
        }
        let (tracefile, reading) = Tracefile::parse(&text);
        let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        let bad = lines.iter().filter(|line| is_bad_hit(line)).count();
        assert!(
            reading.problem_count >= bad as u64,
            "{bad} bad lines, {reading:?}"
        );
        let read: usize = tracefile.files().map(|(_, file)| file.lines().len()).sum();
        assert!(read <= lines.len());
        complained += u64::from(reading.problem_count > 0);
        let mut written = Vec::new();
        tracefile.write(&mut written).unwrap();
        let (again, reading) = Tracefile::parse(&written);
        assert_eq!(reading.problem_count, 0, "what was written reads well");
        let mut twice = Vec::new();
        again.write(&mut twice).unwrap();
        assert!(written == twice, "what was written stays what it is");
    }
    assert!(complained > 10, "{complained} complaints");
}

/// Whether it is the hits of a line, and neither number can be meant.
fn is_bad_hit(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"DA:") else {
        return false;
    };
    let mut parts = rest.split(|&byte| byte == b',');
    let mut number = || {
        let part = parts.next().unwrap_or_default();
        !part.is_empty() && part.iter().all(u8::is_ascii_digit)
    };
    !number() && !number()
}
