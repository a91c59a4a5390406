//! What tracefiles are read as, dialect by dialect and damage by damage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::super::reading::PROBLEMS_KEPT;
use super::*;

/// Returns what `text` says, written in our own way, without the sums.
fn records(text: &str) -> (String, Reading) {
    let (tracefile, reading) = Tracefile::parse(text.as_bytes());
    let mut out = Vec::new();
    tracefile.write(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let sum = |line: &&str| {
        let key = line.split(':').next().unwrap_or_default();
        ![
            "FNF",
            "FNH",
            "BRF",
            "BRH",
            "LF",
            "LH",
            "MCF",
            "MCH",
            "end_of_record",
        ]
        .contains(&key)
    };
    (
        out.lines().filter(sum).collect::<Vec<_>>().join(" "),
        reading,
    )
}

#[track_caller]
fn check(section: &str, expected: &str) {
    let (records, reading) = records(&format!("SF:a\n{section}\nend_of_record\n"));
    assert_eq!(reading.problems, [], "{section}");
    assert_eq!(records, format!("SF:a {expected}").trim_end(), "{section}");
}

#[test]
fn every_dialect_is_understood() {
    // lcov 1, with a checksum and a carriage return
    check(
        "FN:3,main\nFNDA:2,main\nDA:3,2,gdh9eWVdDd/xwxqlBhIJRg\r",
        "FN:3,main FNDA:2,main DA:3,2",
    );
    // coverage.py: the end of a function, interleaved counts, branches in words
    check(
        "FN:1,4,f\nFNDA:1,f\nFN:6,9,g\nFNDA:0,g\nBRDA:2,0,jump to line 3,1\nBRDA:2,0,exit, really,-",
        "FN:1,4,f FN:6,9,g FNDA:1,f FNDA:0,g BRDA:2,0,jump to line 3,1 BRDA:2,0,exit, really,-",
    );
    // lcov 2.2: functions by index, kinds of branches, exclusions, conditions
    check(
        "FNL:0,5,8\nFNA:0,3,f<int>(int, int)\nFNA:0,0,f<long>\nFNL:1,9\nFNA:1,1,g",
        "FN:5,8,f<int>(int, int) FN:5,8,f<long> FN:9,g FNDA:3,f<int>(int, int) FNDA:0,f<long> FNDA:1,g",
    );
    check(
        "BRDA:7,e0,1,4\nBRDA:7,fU0,2,0",
        "BRDA:7,e0,1,4 BRDA:7,fU0,2,0",
    );
    // lcov 2.5: the mark stands before how many conditions there are
    check(
        "MCDC:7,2,t,1,0,a\nMCDC:7,U2,f,0,1,b, c\nMCF:1\nMCH:1",
        "MCDC:7,2,t,1,0,a MCDC:7,U2,f,0,1,b, c",
    );
    // Julia: lines only, sums the other way round; comments, versions and empty lines
    check(
        "# by hand\n\nVER:1\nDA:2,1\nDA:1,0\nLH:1\nLF:2",
        "DA:1,0 DA:2,1",
    );
    check(
        "FN:7,operator,\nFNDA:1,operator,",
        "FN:7,operator, FNDA:1,operator,",
    );
}

#[test]
fn equal_names_keep_their_own_counts() {
    check(
        "FN:10,f\nFN:20,g\nFN:30,f\nFNDA:1,f\nFNDA:2,g\nFNDA:3,f",
        "FN:10,f FN:20,g FN:30,f FNDA:1,f FNDA:2,g FNDA:3,f",
    );
    // Counts in another order than declarations, and more of them.
    check(
        "FN:10,f\nFN:20,g\nFN:30,f\nFNDA:2,g\nFNDA:1,f\nFNDA:3,f\nFNDA:4,f",
        "FN:10,f FN:20,g FN:30,f FNDA:1,f FNDA:2,g FNDA:7,f",
    );
    check("FN:10,f\nFN:20,g", "FN:10,f FN:20,g FNDA:0,f FNDA:0,g");
}

#[test]
fn equal_lines_and_sections_are_added() {
    check("DA:1,1\nDA:2,1\nDA:1,4", "DA:1,5 DA:2,1");
    let (records, reading) =
        records("TN:a\nSF:x\nDA:1,1\nend_of_record\nTN:b\nSF:x\nDA:1,2\nDA:3,0\nend_of_record\n");
    assert_eq!(
        (records.as_str(), reading.sections),
        ("SF:x DA:1,3 DA:3,0", 2)
    );
}

#[test]
fn numbers_out_of_range_are_bent_and_said() {
    let (records, reading) = records(
        "SF:a\nFN:1,f\nFNDA:-3,f\nDA:1,18446744073709551614\nDA:2,18446744073709551616\nDA:3,-1\nDA:4,00000000000000000000007\nend_of_record\n",
    );
    assert_eq!(
        records,
        "SF:a FN:1,f FNDA:0,f DA:1,18446744073709551614 DA:2,18446744073709551615 DA:3,0 DA:4,7"
    );
    assert_eq!((reading.saturated, reading.negative), (1, 2));
}

#[test]
fn bad_lines_are_reported_and_the_rest_goes_on() {
    let text = "DA:1,1\nSF:a\nDA:1\nDA:x,1\nDA:4294967296,1\nDA:9,1\nwhat is this\nFN:1\nFNDA:1,ghost\n\
                BRDA:1,x,0,1\nBRDA:1,0,0,many\nMCDC:1,1,x,1,0,a\nFNA:7,1,f\nLF:-1\nSF:b\nDA:2,2\nSF:\nDA:3,3\nend_of_record\nend_of_record\nSF:c\nDA:1,1\nDA:2,1";
    let (records, reading) = records(text);
    assert_eq!(records, "SF:a DA:9,1 SF:b DA:2,2 SF:c DA:1,1");
    let problems: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(problems.join("\n"), @r"
    line 1: `DA:1,1` belongs to no source file
    line 3: `DA:1` is not DA:LINE,HITS
    line 4: `DA:x,1` is not DA:LINE,HITS
    line 5: `DA:4294967296,1` is not DA:LINE,HITS
    line 7: `what is this` is not a record
    line 8: `FN:1` is not FN:LINE,NAME or FN:LINE,END,NAME
    line 9: function `ghost` is counted but not declared
    line 10: `BRDA:1,x,0,1` is not BRDA:LINE,BLOCK,BRANCH,TAKEN
    line 11: `BRDA:1,0,0,many` is not BRDA:LINE,BLOCK,BRANCH,TAKEN
    line 12: `MCDC:1,1,x,1,0,a` is not MCDC:LINE,[U]CONDITIONS,t or f,TAKEN,INDEX,EXPRESSION
    line 13: `FNA:7,1,f` is not FNA:INDEX,HITS,NAME of an index that an FNL record defines
    line 14: `LF:-1` is not a number
    line 15: the section of `a` does not end with `end_of_record`
    line 17: the section of `b` does not end with `end_of_record`
    line 17: `SF:` is not SF:PATH
    line 18: `DA:3,3` belongs to no source file
    line 19: `end_of_record` belongs to no source file
    line 20: `end_of_record` belongs to no source file
    line 23: the tracefile ends in the middle of `DA:2,1`
    line 23: the section of `c` does not end with `end_of_record`
    ");
    assert_eq!(reading.problem_count, 20);
}

/// Every way of a line to be of no use, what it costs, and what is left of the rest.
#[test]
fn a_line_costs_what_it_says_and_no_more() {
    const GOOD: &str = "SF:a DA:3,1";
    for (line, expected) in [
        (
            "DA:0,1",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "DA:00,1",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "DA:-4,1",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "BRDA:0,0,0,1",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "BRDA:-1,0,jump,1",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "MCDC:0,1,t,1,0,a",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "FNL:1,0",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "FNL:1,4,-1",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "FN:0,f",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "FN:-1,f",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "FN:4,0,f",
            "is about a line that no file has: lines count from 1",
        ),
        (
            "FN:4,-1,f",
            "is about a line that no file has: lines count from 1",
        ),
        ("FN:x,f", "is not FN:LINE,NAME or FN:LINE,END,NAME"),
        ("DA:1", "is not DA:LINE,HITS"),
        ("DA:2,", "is not DA:LINE,HITS"),
        ("DA:,3", "is not DA:LINE,HITS"),
        ("DA:4,x", "is not DA:LINE,HITS"),
        ("DA:5,1e", "is not DA:LINE,HITS"),
        ("DA:6,\u{0}", "is not DA:LINE,HITS"),
        ("DA:4294967296,1", "is not DA:LINE,HITS"),
        ("BRDA:7,U0,e0,1,x", "is not BRDA:LINE,BLOCK,BRANCH,TAKEN"),
        ("BRDA:7,Ue0,0,1", "is not BRDA:LINE,BLOCK,BRANCH,TAKEN"),
        ("BRDA:7,ef0,0,1", "is not BRDA:LINE,BLOCK,BRANCH,TAKEN"),
        (
            "MCDC:7,2,fU,0,1,b",
            "is not MCDC:LINE,[U]CONDITIONS,t or f,TAKEN,INDEX,EXPRESSION",
        ),
        (
            "MCDC:7,2,tU,0,1,b",
            "is not MCDC:LINE,[U]CONDITIONS,t or f,TAKEN,INDEX,EXPRESSION",
        ),
        (
            "MCDC:7,UU2,t,0,1,b",
            "is not MCDC:LINE,[U]CONDITIONS,t or f,TAKEN,INDEX,EXPRESSION",
        ),
        ("BA:7,1", "is a record of an unknown kind"),
        ("DAA:7,1", "is a record of an unknown kind"),
        (" DA:7,1", "is not a record"),
        ("\u{0}\u{0}DA:7,1", "is not a record"),
    ] {
        for end in ["\n", "\r\n"] {
            let text = ["SF:a", line, "DA:3,1", "end_of_record", ""].join(end);
            let (left, reading) = records(&text);
            assert_eq!(left, GOOD, "{line}");
            let told: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
            assert_eq!(told, [format!("line 2: `{line}` {expected}")]);
            assert!(!reading.is_whole());
        }
    }
}

#[test]
fn a_function_on_no_line_takes_its_count_along() {
    let (left, reading) = records(
        "SF:a\nFN:0,made\nFNDA:4,made\nFN:3,5,f\nFNDA:2,f\nFNDA:1,ghost\nDA:3,2\nend_of_record\n",
    );
    assert_eq!(left, "SF:a FN:3,5,f FNDA:2,f DA:3,2");
    let lines: Vec<u64> = reading
        .problems
        .iter()
        .map(|problem| problem.line)
        .collect();
    assert_eq!(lines, [2, 6]);
}

#[test]
fn counts_as_perl_writes_them_are_read() {
    let (left, reading) = records(
        "SF:a\nDA:1,1.5e+06\nDA:2,1.84467440737096e+19\nDA:3,0.25\nDA:4,-1.5\nDA:5,7 \t\nend_of_record \n",
    );
    assert_eq!(
        left,
        "SF:a DA:1,1500000 DA:2,18446744073709551615 DA:3,1 DA:4,0 DA:5,7"
    );
    assert_eq!((reading.saturated, reading.negative), (1, 1));
    assert!(reading.is_whole());
}

/// A text in all the ways in which files are written.
fn encodings(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let units = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let text = format!("\u{feff}{text}");
        text.encode_utf16().flat_map(unit).collect()
    };
    vec![
        ("plain", text.as_bytes().to_vec()),
        ("marked", [MARK, text.as_bytes()].concat()),
        ("marked twice", [MARK, MARK, text.as_bytes()].concat()),
        ("little-endian", units(u16::to_le_bytes)),
        ("big-endian", units(u16::to_be_bytes)),
    ]
}

#[test]
fn every_encoding_is_read() {
    let text = "SF:src/größe😀.c\nFN:1,λ\nFNDA:5,λ\nDA:1,5\nDA:2,0\nend_of_record\n";
    let two = text.replace("größe", "b");
    for text in [
        text.to_owned(),
        text.replace('\n', "\r\n"),
        format!("{text}{two}"),
    ] {
        let (expected, _) = Tracefile::parse(text.as_bytes());
        for (name, bytes) in encodings(&text) {
            let (tracefile, reading) = Tracefile::parse(&bytes);
            if name == "marked twice" {
                assert!(!reading.is_whole(), "nobody writes that: {reading:?}");
                continue;
            }
            assert_eq!(
                (&tracefile, &reading.problems[..]),
                (&expected, &[][..]),
                "{name}"
            );
            assert!(reading.is_whole() && reading.not_utf8 == 0, "{name}");
        }
    }
    // One file behind another, each with its mark.
    let joined = [MARK, text.as_bytes(), MARK, two.as_bytes()].concat();
    let (tracefile, reading) = Tracefile::parse(&joined);
    assert!(
        reading.is_whole() && tracefile.files().len() == 2,
        "{reading:?}"
    );
}

#[test]
fn what_is_no_text_is_one_problem_of_the_file() {
    let utf32: Vec<u8> = "\u{feff}SF:a\n"
        .chars()
        .flat_map(|c| u32::from(c).to_le_bytes())
        .collect();
    for (bytes, expected) in [
        (
            utf32,
            "line 1: the file is written in UTF-32, which is not read",
        ),
        (
            b"\x1f\x8b\x08\x00\n\n".to_vec(),
            "line 1: the file is compressed by gzip, which is not read",
        ),
    ] {
        let (tracefile, reading) = Tracefile::parse(&bytes);
        assert!(tracefile.is_empty());
        let told: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told, [expected]);
    }
}

#[test]
fn half_characters_and_half_units_are_never_passed_over() {
    let mut units: Vec<u16> = "\u{feff}SF:a\nFN:1,".encode_utf16().collect();
    units.extend([0xd83d, 0xd83d, 0xde00, 0xdc00]);
    units.extend("\nDA:1,1\nend_of_record\n".encode_utf16());
    let mut bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    let (tracefile, reading) = Tracefile::parse(&bytes);
    let name = &tracefile.file("a").unwrap().functions()[0].name;
    assert_eq!(&**name, "\u{fffd}😀\u{fffd}");
    assert_eq!((reading.not_utf8, reading.problem_count), (1, 0));
    bytes.push(0);
    assert_eq!(Tracefile::parse(&bytes).1.problem_count, 1);
    bytes.extend([b'D', 0xd8, 0x3d]);
    assert_eq!(Tracefile::parse(&bytes).1.problem_count, 1);
}

/// What people and tools left, as it came.
#[test]
fn samples_from_the_field_are_read_right() {
    for (name, expected, lines) in [
        (
            "b-bom-sf",
            "SF:src/a.c DA:1,5 DA:2,0 SF:src/b.c DA:1,1",
            &[][..],
        ),
        ("c-utf16", "SF:src/a.c DA:1,5 DA:2,0", &[3]),
        (
            "d-negative-fn",
            "SF:src/a.c FN:3,main FNDA:1,main DA:3,1",
            &[3],
        ),
        ("e-line-zero", "SF:src/a.c DA:3,1", &[3, 5]),
        ("o-bad-da", "SF:src/a.c DA:5,1", &[2, 3, 4, 5]),
    ] {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join(format!("tests/data/lcov/{name}.info"));
        let (tracefile, reading) = Tracefile::parse(&fs_err::read(path).unwrap());
        let (left, _) = records(&printed(&tracefile));
        assert_eq!(left, expected, "{name}");
        let told: Vec<u64> = reading
            .problems
            .iter()
            .map(|problem| problem.line)
            .collect();
        assert_eq!(told, lines, "{name}");
    }
}

fn printed(tracefile: &Tracefile) -> String {
    let mut text = Vec::new();
    tracefile.write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn unknown_records_are_told_with_their_lines() {
    let (_, reading) = records("SF:a\nNEW:1\nDA:1,1\nX2:\nend_of_record\n");
    let told: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 2: `NEW:1` is a record of an unknown kind",
            "line 4: `X2:` is a record of an unknown kind"
        ]
    );
}

#[test]
fn names_that_are_not_utf8_are_kept_as_far_as_they_go() {
    let (tracefile, reading) = Tracefile::parse(b"SF:a\xff\nFN:1,\xfe\nDA:1,1\nend_of_record\n");
    assert_eq!(reading.not_utf8, 2);
    assert!(tracefile.file("a\u{fffd}").is_some());
}

#[test]
fn problems_stay_bounded() {
    let lines: Vec<String> = (0..1000).map(|line| format!("bad\nR{line}:1\n")).collect();
    let (_, reading) = records(&format!("SF:a\n{}", lines.concat()));
    assert_eq!(reading.problems.len(), PROBLEMS_KEPT);
    assert_eq!(reading.problem_count, 1000 + 1000 + 1);
}

/// Hands out a few bytes at a time, as a pipe may.
struct Dribble<'a>(&'a [u8], usize);

impl io::Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let brought = self.1.min(self.0.len()).min(buffer.len());
        buffer[..brought].copy_from_slice(&self.0[..brought]);
        self.0 = &self.0[brought..];
        Ok(brought)
    }
}

#[test]
fn line_longer_than_the_buffer_is_read_and_one_beyond_all_bounds_is_not() {
    for (length, problems) in [
        (CHUNK + 7, 0),
        (LONGEST_LINE - 100, 0),
        (LONGEST_LINE + CHUNK, 1),
    ] {
        let name = "f".repeat(length);
        let text = format!("SF:a\nFN:1,{name}\nFN:2,g\nDA:1,1\nbad\nend_of_record\n");
        let (tracefile, reading) = Tracefile::parse(text.as_bytes());
        assert_eq!(
            tracefile.file("a").unwrap().functions().len(),
            2 - problems,
            "{length}"
        );
        assert_eq!(reading.problem_count, 1 + problems as u64, "{length}");
        assert_eq!(reading.problems.last().unwrap().line, 5, "{length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_in_any_pieces(
        lines in prop::collection::vec(
            "(\u{feff})?(SF:a|DA:[0-9]{0,3},-?[0-9]{0,22}|FN:[0-9],[ab]|FN:[0-9],[0-9],b|FNDA:[0-9],[ab]|BRDA:1,[efU]{0,2}[0-9],0,[-0-9]|end_of_record|[:,A-Z0-9]{0,6})\r?",
            0..30,
        ),
        piece in 1..9_usize,
    ) {
        let text = lines.join("\n");
        let (whole, said) = Tracefile::parse(text.as_bytes());
        let mut pieces = Tracefile::default();
        let reading = pieces.read(Dribble(text.as_bytes(), piece)).unwrap();
        prop_assert_eq!(pieces, whole);
        prop_assert_eq!(reading, said);
    }

    #[test]
    fn of_damaged_lines_each_is_told_and_the_others_are_used(
        lines in prop::collection::vec(
            prop_oneof![
                2 => (1..2000_u32, 0..9_u64).prop_map(|(line, hits)| (format!("DA:{line},{hits}"), true)),
                1 => "(DA:(0|-[1-9]|x|),[0-9]|DA:[1-9],(|x|-|y1)|FN:(0|-3|x),g|BRDA:(0|1),x,0,1|MCDC:1,1,fU,1,0,a|[A-CX-Z]{3}:1|nothing|LF:x)"
                    .prop_map(|line| (line, false)),
            ],
            1..60,
        ),
        encoding in 0..5_usize,
        end in prop_oneof![Just("\n"), Just("\r\n")],
        piece in 1..9_usize,
    ) {
        let mut text = format!("SF:a.c{end}");
        for (line, _) in &lines {
            text.push_str(line);
            text.push_str(end);
        }
        text.push_str("end_of_record");
        let (name, bytes) = encodings(&text).swap_remove(encoding);
        prop_assume!(name != "marked twice");
        let mut tracefile = Tracefile::default();
        let reading = tracefile.read(Dribble(&bytes, piece)).unwrap();
        let told: Vec<u64> = reading.problems.iter().map(|problem| problem.line).collect();
        let damaged: Vec<u64> = (2..)
            .zip(&lines)
            .filter(|(_, (_, good))| !good)
            .map(|(number, _)| number)
            .collect();
        prop_assert_eq!(&told, &damaged);
        prop_assert_eq!(reading.problem_count, damaged.len() as u64);
        let good: Vec<&str> = lines.iter().filter(|(_, good)| *good).map(|(line, _)| line.as_str()).collect();
        let alone = format!("SF:a.c\n{}\nend_of_record\n", good.join("\n"));
        prop_assert_eq!(tracefile, Tracefile::parse(alone.as_bytes()).0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (tracefile, _) = Tracefile::parse(&[b"SF:a\n", bytes.as_slice()].concat());
        prop_assert!(!tracefile.is_empty());
    }
}
