//! Commits of a few kilobytes that unfold to more than any machine has. Each ends soon, in little memory, and says what is too much.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use git2::{ObjectType, Oid, Repository};
use nix::sys::signal::Signal;

use crate::support::bounds::{bounded, interrupted};
use crate::support::tools::full;
use crate::support::{Home, Project};

const TOML: &str = "[build.tests]\ncommand = \"true\"\ncoverage = \"none\"\n[[test]]\nname = \"a\"\ncommand = \"true\"\n";
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_000;
const FOLDER: u32 = 0o40_000;
const MODULE: u32 = 0o160_000;
const SOON: Duration = Duration::from_secs(10);

type Entry = (u32, String, Oid);

/// A repository whose objects are written one by one, as whoever pushes them could.
struct Bomb {
    project: Project,
    git: Repository,
}

impl Bomb {
    fn new() -> Self {
        let project = Project::new(Home::Here);
        project.file("hpc.toml", TOML);
        project.commit();
        let git = Repository::open(&project.dir).unwrap();
        Self { project, git }
    }

    fn blob(&self, text: impl AsRef<[u8]>) -> Oid {
        self.write(ObjectType::Blob, text.as_ref())
    }

    fn write(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        self.git.odb().unwrap().write(kind, bytes).unwrap()
    }

    /// Entries stand in git's order.
    fn tree(&self, entries: &[Entry]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            write!(bytes, "{mode:o} {name}\0").unwrap();
            bytes.extend_from_slice(id.as_bytes());
        }
        self.write(ObjectType::Tree, &bytes)
    }

    /// Commits these entries with an `hpc.toml`, by itself or with a message.
    fn commit_with(&self, mut entries: Vec<Entry>, message: &str) -> Oid {
        if !entries.iter().any(|(_, name, _)| name == "hpc.toml") {
            entries.push((FILE, "hpc.toml".into(), self.blob(TOML)));
        }
        let order = |(mode, name, _): &Entry| match *mode {
            FOLDER => format!("{name}/"),
            _ => name.clone(),
        };
        entries.sort_by_key(order);
        let tree = self.tree(&entries);
        let who = "t <t@example.org> 1 +0000";
        let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\n{message}\n");
        let id = self.write(ObjectType::Commit, text.as_bytes());
        let main = self.project.dir.join(".git/refs/heads/main");
        std::fs::write(main, format!("{id}\n")).unwrap();
        id
    }

    fn commit(&self, entries: Vec<Entry>) -> Oid {
        self.commit_with(entries, "x")
    }

    /// A folder that holds ten times ten times … one file.
    fn unfolded(&self, levels: u32) -> Oid {
        let blob = self.blob("x\n");
        let ten = |mode, id| {
            let entries: Vec<Entry> = (0..10).map(|n| (mode, format!("n{n}"), id)).collect();
            self.tree(&entries)
        };
        (1..levels).fold(ten(FILE, blob), |below, _| ten(FOLDER, below))
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        self.project.hpc_ci(arguments)
    }
}

fn lines(count: u32, line: impl Fn(u32) -> String) -> String {
    let mut text = String::new();
    for number in 0..count {
        writeln!(text, "{}", line(number)).unwrap();
    }
    text
}

/// Writes a pack with one blob of so many zeros, under a name that nobody computed: nothing may read so far as to find out.
fn pack_of_zeros(git: &Path, gibibytes: u64) -> Oid {
    let chunk = vec![0; 1 << 20];
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
    let mut body = Vec::with_capacity(1 << 16);
    let flush = flate2::FlushCompress::Full;
    deflate.compress_vec(&chunk, &mut body, flush).unwrap();
    let size = gibibytes << 30;
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    let mut rest = size >> 4;
    let mut byte = u8::try_from(3 << 4 | size & 15).unwrap();
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = u8::try_from(rest & 0x7f).unwrap();
        rest >>= 7;
    }
    pack.push(byte);
    pack.extend_from_slice(&[0x78, 0xda]);
    for _ in 0..gibibytes << 10 {
        pack.extend_from_slice(&body);
    }
    // An empty last block, and Adler-32 of zeros.
    pack.extend_from_slice(&[0x03, 0x00]);
    let sum = u32::try_from(size % 65521).unwrap() << 16 | 1;
    pack.extend_from_slice(&sum.to_be_bytes());
    pack.extend_from_slice(&[0; 20]);
    let id = Oid::from_bytes(&[7; 20]).unwrap();
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    for first in 0..256_u32 {
        index.extend_from_slice(&u32::from(first >= 7).to_be_bytes());
    }
    index.extend_from_slice(id.as_bytes());
    index.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 12]);
    index.extend_from_slice(&[0; 40]);
    let name = "objects/pack/pack-0707070707070707070707070707070707070707";
    std::fs::create_dir_all(git.join("objects/pack")).unwrap();
    std::fs::write(git.join(format!("{name}.pack")), pack).unwrap();
    std::fs::write(git.join(format!("{name}.idx")), index).unwrap();
    id
}

/// Makes a bomb, and returns what is to be said of it.
type Make = fn(&Bomb) -> &'static [&'static str];

const BOMBS: &[(&str, Make)] = &[
    ("ten to the eighth files", |bomb| {
        bomb.commit(vec![(FOLDER, "all".into(), bomb.unfolded(8))]);
        &["500000 files and folders", "`all/n0/", "max_files"]
    }),
    ("ten to the eighth empty folders", |bomb| {
        let empty = bomb.tree(&[]);
        let ten = |below: Oid| {
            let entries: Vec<Entry> = (0..10).map(|n| (FOLDER, format!("n{n}"), below)).collect();
            bomb.tree(&entries)
        };
        let all = (0..8).fold(empty, |below, _| ten(below));
        bomb.commit(vec![(FOLDER, "all".into(), all)]);
        &["500000 files and folders", "max_files"]
    }),
    ("a million names in one folder", |bomb| {
        let blob = bomb.blob("x\n");
        let entries: Vec<Entry> = (0..1_000_000)
            .map(|n| (FILE, format!("{n:08}"), blob))
            .collect();
        bomb.commit(vec![(FOLDER, "flat".into(), bomb.tree(&entries))]);
        &["500000 files and folders", "`flat/", "max_files"]
    }),
    ("folders in one another", |bomb| {
        let levels = if full() { 30_000 } else { 3000 };
        let file = bomb.tree(&[(FILE, "f".into(), bomb.blob("x\n"))]);
        let deep = (0..levels).fold(file, |below, _| bomb.tree(&[(FOLDER, "d".into(), below)]));
        bomb.commit(vec![(FOLDER, "d".into(), deep)]);
        &["1000 folders in one another", "`d/d/d/"]
    }),
    ("a long name", |bomb| {
        bomb.commit(vec![(FILE, "n".repeat(60_000), bomb.blob("x\n"))]);
        &["4095 bytes in a path", "`nnnn"]
    }),
    ("many lines of attributes", |bomb| {
        let text = lines(3_000_000, |n| format!("a{n} text"));
        bomb.commit(vec![(FILE, ".gitattributes".into(), bomb.blob(text))]);
        &["1048576 bytes in a file with settings", "`.gitattributes`"]
    }),
    ("many lines of attributes for many files", |bomb| {
        let text = lines(40_000, |n| format!("a*{n} text"));
        let attributes = (FILE, ".gitattributes".into(), bomb.blob(text));
        bomb.commit(vec![attributes, (FOLDER, "all".into(), bomb.unfolded(5))]);
        &["100000000 pairs of a file and a line of .gitattributes"]
    }),
    ("attributes in many folders", |bomb| {
        let text = bomb.blob(lines(1000, |n| format!("a{n} text")));
        let folder = bomb.tree(&[(FILE, ".gitattributes".into(), text)]);
        let all = (0..100).map(|n| (FOLDER, format!("d{n}"), folder));
        bomb.commit(all.collect());
        &["50000 lines of .gitattributes and .gitignore", "`d"]
    }),
    ("attributes that stand for others", |bomb| {
        let text = lines(200, |n| format!("[attr]m{n} a{n} b{n}")) + &"* m1\n".repeat(1000);
        bomb.commit(vec![(FILE, ".gitattributes".into(), bomb.blob(text))]);
        &["256 words in macros of .gitattributes", "`.gitattributes`"]
    }),
    ("many lines of what is ignored", |bomb| {
        let text = lines(1_000_000, |n| format!("a{n}"));
        bomb.commit(vec![(FILE, ".gitignore".into(), bomb.blob(text))]);
        &["1048576 bytes in a file with settings", "`.gitignore`"]
    }),
    ("many submodules that are not there", |bomb| {
        let text = lines(300_000, |n| {
            format!("[submodule \"m{n}\"]\npath = m{n}\nurl = ../m{n}")
        });
        let link = Oid::from_bytes(&[9; 20]).unwrap();
        bomb.commit(vec![
            (FILE, ".gitmodules".into(), bomb.blob(text)),
            (MODULE, "m299999".into(), link),
        ]);
        &["1048576 bytes in a file with settings", "`.gitmodules`"]
    }),
    ("many links to submodules", |bomb| {
        let link = Oid::from_bytes(&[9; 20]).unwrap();
        let links = (0..2000).map(|n| (MODULE, format!("m{n}"), link));
        bomb.commit(links.collect());
        &["1000 submodules"]
    }),
    ("a pack of three gibibytes of zeros", |bomb| {
        let zeros = pack_of_zeros(bomb.git.path(), 3);
        bomb.commit(vec![(FILE, "big".into(), zeros)]);
        &["134217728 bytes in a file", "`big`", "max_file_size"]
    }),
    ("zeros for settings", |bomb| {
        let zeros = pack_of_zeros(bomb.git.path(), 3);
        bomb.commit(vec![(FILE, "hpc.toml".into(), zeros)]);
        &["2097152 bytes in a file with settings", "`hpc.toml`"]
    }),
    ("a large file, named often", |bomb| {
        let large = bomb.blob(vec![0; 100 << 20]);
        bomb.commit((0..200).map(|n| (FILE, format!("f{n}"), large)).collect());
        &["17179869184 bytes in all its files", "`f", "max_size"]
    }),
    ("a long message", |bomb| {
        bomb.commit_with(Vec::new(), &"x".repeat(64 << 20));
        &["4194304 bytes in a message"]
    }),
];

#[test]
fn what_unfolds_to_more_than_is_taken_is_refused() {
    for (name, make) in BOMBS {
        let bomb = Bomb::new();
        let says = make(&bomb);
        let run = bounded(&mut bomb.command(&["--scheduler", "local"]), SOON);
        let told = format!("{name}, {:?}: {}{}", run.took, run.out, run.err);
        assert_eq!(run.code, Some(3), "{told}");
        for text in says {
            assert!(run.err.contains(text), "no `{text}`: {told}");
        }
        // What the test itself held is counted too.
        run.below(512);
    }
}

#[test]
fn a_raised_limit_is_obeyed() {
    let bomb = Bomb::new();
    bomb.commit(vec![(FOLDER, "all".into(), bomb.unfolded(2))]);
    for (limit, code) in [("100", 3), ("200", 0)] {
        let text = format!("{TOML}[project]\nmax_files = {limit}\n");
        bomb.project.file("hpc.toml", &text);
        let run = bomb.project.run(&["--scheduler", "local"]);
        run.exits_with(code);
    }
}

/// Git does not follow a link in the place of its settings, wherever it leads, and writes it as what it is.
#[test]
fn links_in_the_place_of_settings_are_not_followed() {
    let bomb = Bomb::new();
    let outside = bomb.project.dir.with_file_name("outside");
    std::fs::create_dir(&outside).unwrap();
    let fifo = outside.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let links = |target: &Path| {
        let target = bomb.blob(target.to_str().unwrap());
        [".gitattributes", ".gitignore"].map(|name| (LINK, name.to_owned(), target))
    };
    let below = bomb.tree(&links(Path::new("/dev/zero")));
    let reused = TOML.replace(
        "command = \"true\"\ncov",
        "command = \"true\"\nreuse = true\ncov",
    );
    let mut entries = vec![
        (FILE, "hpc.toml".into(), bomb.blob(reused)),
        (FOLDER, "a".into(), below),
        (FILE, "b".into(), bomb.blob("x\n")),
    ];
    entries.extend(links(&fifo));
    bomb.commit(entries.clone());
    for _ in 0..2 {
        let run = bounded(&mut bomb.command(&["--scheduler", "local"]), SOON);
        assert_eq!(run.code, Some(0), "{}", run.err);
        run.below(256);
        let tree = bomb.project.dir.join("hpc-ci/trees/kept/tests");
        for (path, target) in [
            (".gitignore", &*fifo),
            ("a/.gitattributes", Path::new("/dev/zero")),
        ] {
            assert_eq!(tree.join(path).read_link().unwrap(), target);
        }
    }
    // No folder is a link that leads out, even if the commit names both.
    entries.push((LINK, "a".into(), bomb.blob(outside.to_str().unwrap())));
    bomb.commit(entries);
    let run = bounded(&mut bomb.command(&["--scheduler", "local"]), SOON);
    assert_eq!(run.code, Some(3), "{}", run.err);
    assert_eq!(outside.read_dir().unwrap().count(), 1);
}

/// Tags of what is long, and chains of them, are passed over.
#[test]
fn tags_without_end_name_nothing() {
    let bomb = Bomb::new();
    let commit = bomb.commit(Vec::new());
    let (mut target, mut kind) = (commit, "commit");
    let mut packed = String::new();
    for number in 0..5000 {
        let text = format!(
            "object {target}\ntype {kind}\ntag t{number}\ntagger t <t@example.org> 1 +0000\n\nx\n"
        );
        target = bomb.write(ObjectType::Tag, text.as_bytes());
        kind = "tag";
        writeln!(packed, "{target} refs/tags/t{number}").unwrap();
    }
    let zeros = pack_of_zeros(bomb.git.path(), 3);
    writeln!(packed, "{zeros} refs/tags/zeros").unwrap();
    std::fs::write(bomb.project.dir.join(".git/packed-refs"), packed).unwrap();
    let mut command = bomb.command(&["--scheduler", "local"]);
    let run = bounded(&mut command, SOON);
    assert_eq!(run.code, Some(0), "{}", run.err);
    run.below(512);
}

/// Ten submodules on each of six levels, all of them the same repository.
#[test]
fn submodules_within_submodules_have_an_end() {
    let bomb = Bomb::new();
    let modules = lines(10, |n| {
        format!("[submodule \"s{n}\"]\npath = s{n}\nurl = ./")
    });
    let modules = bomb.blob(modules);
    let mut inner = bomb.commit(Vec::new());
    for _ in 0..6 {
        let links = (0..10).map(|n| (MODULE, format!("s{n}"), inner));
        let settings = (FILE, ".gitmodules".to_owned(), modules);
        inner = bomb.commit(links.chain([settings]).collect());
    }
    let text = format!("{TOML}[trust]\nlocal_submodules = true\n");
    bomb.project.file("hpc.toml", &text);
    let run = bounded(&mut bomb.command(&["--scheduler", "local"]), SOON);
    assert_eq!(run.code, Some(3), "{}", run.err);
    assert!(run.err.contains("more than 1000 submodules"), "{}", run.err);
    run.below(256);

    // A chain, which is few but deep.
    let modules = bomb.blob("[submodule \"s\"]\npath = s\nurl = ./\n");
    let mut inner = bomb.commit(Vec::new());
    for _ in 0..40 {
        let settings = (FILE, ".gitmodules".to_owned(), modules);
        inner = bomb.commit(vec![settings, (MODULE, "s".into(), inner)]);
    }
    let run = bounded(&mut bomb.command(&["--scheduler", "local"]), SOON);
    let said = run.err.contains("16 submodules in one another");
    assert!(said && run.code == Some(3), "{}", run.err);
}

/// What is within the limits may take long; whoever asks for its end gets it.
#[test]
fn a_checkout_obeys_signals() {
    let bomb = Bomb::new();
    let three = (0..3).map(|n| (FOLDER, format!("n{n}"), bomb.unfolded(5)));
    bomb.commit(three.collect());
    let many_files = bomb;
    let bomb = Bomb::new();
    let text = lines(48_000, |n| format!("a*{n} text"));
    let attributes = (FILE, ".gitattributes".into(), bomb.blob(text));
    let thousand = ["a", "b"].map(|name| (FOLDER, name.into(), bomb.unfolded(3)));
    bomb.commit(thousand.into_iter().chain([attributes]).collect());
    for (bomb, signal, code) in [
        (&many_files, Signal::SIGINT, 130),
        (&many_files, Signal::SIGTERM, 143),
        (&bomb, Signal::SIGTERM, 143),
    ] {
        let mut command = bomb.command(&["--scheduler", "local"]);
        let after = Duration::from_millis(1200);
        let (took, ended) = interrupted(&mut command, after, signal);
        assert_eq!(ended, Some(code), "{signal}");
        assert!(took < Duration::from_secs(2), "{signal}: {took:?}");
    }
}

/// Whoever writes a commit does not choose which repositories of this machine are read.
#[test]
fn local_submodules_are_for_trusted_files_to_allow() {
    let private = Project::new(Home::Here);
    private.file("secret.txt", "secret");
    let secret = private.commit();
    let link = Oid::from_str(&secret).unwrap();
    let place = private.dir.display().to_string();
    let refused = |bomb: &Bomb| {
        let run = bomb.project.run(&["--scheduler", "local"]);
        let run = run.exits_with(3);
        let said = run.err.contains("its url leads to the local path");
        assert!(said && run.err.contains("local_submodules"), "{}", run.err);
    };
    let above = private.dir.parent().unwrap().file_name().unwrap();
    let beside = format!("../../{}/project", above.to_str().unwrap());
    for url in [place.clone(), format!("file://{place}"), beside] {
        let bomb = Bomb::new();
        let text = format!("[submodule \"dep\"]\npath = dep\nurl = {url}\n");
        let own = format!("{TOML}[trust]\nlocal_submodules = true\n");
        bomb.commit(vec![
            (FILE, ".gitmodules".into(), bomb.blob(text)),
            (FILE, "hpc.toml".into(), bomb.blob(&own)),
            (MODULE, "dep".into(), link),
        ]);
        refused(&bomb);
        // A link in the work tree is not the user's clone of it.
        std::os::unix::fs::symlink(&private.dir, bomb.project.dir.join("dep")).unwrap();
        refused(&bomb);
        std::fs::remove_file(bomb.project.dir.join("dep")).unwrap();
        bomb.project.file("hpc.toml", &own);
        bomb.project.run(&["--scheduler", "local"]).exits_with(0);
    }
}
