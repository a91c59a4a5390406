//! Against the real programs of LLVM. They, `rustc` and `clang-14` have to be installed, as `ci/test` does.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use fs_err as fs;

use super::*;
use crate::coverage::objects;
use crate::process::Command;

const RUST: &str = "fn is_many<T: Into<u64>>(n: T) -> bool { if n.into() > 2 { true } else { false } }
fn main() { let n = std::env::args().count() as u32; assert_eq!(is_many(n), is_many(u64::from(n))); }
";
const C: &str = "static int f(int n) { return n > 2 && n < 9; }
int main(int argc, char **argv) { int n = 0; for (int i = 0; i < argc; i++) n += f(i); return n < 0; }
";

/// A directory with programs in `tree`, their profiles beside it, and room for work.
struct Bench {
    dir: tempfile::TempDir,
    profiles: AtomicU32,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tree", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            dir,
            profiles: AtomicU32::new(0),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn build(&self, compiler: &str, name: &str) -> PathBuf {
        let (source, text, flags): (_, _, &[&str]) = match compiler {
            "rustc" => ("a.rs", RUST, &["-C", "instrument-coverage"]),
            _ => (
                "a.c",
                C,
                &["-fprofile-instr-generate", "-fcoverage-mapping"],
            ),
        };
        fs::write(self.at(source), text).unwrap();
        let program = self.at("tree").join(name);
        let build = Command::new(compiler)
            .args(flags)
            .arg(self.at(source))
            .arg("-o")
            .arg(&program);
        build.success().await.unwrap();
        program
    }

    async fn run(&self, program: &Path, args: &[&str]) -> PathBuf {
        let number = self.profiles.fetch_add(1, Ordering::Relaxed);
        // A comma and a colon, which mean something to llvm-profdata, and a space.
        let profile = self.at(&format!("rank {number}, of: 4.profraw"));
        let run = Command::new(program)
            .args(args)
            .env("LLVM_PROFILE_FILE", &profile);
        run.success().await.unwrap();
        profile
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn request(&self, profiles: Vec<PathBuf>) -> Request {
        let found = objects::find(&objects::Places {
            trees: vec![self.at("tree")],
            ..objects::Places::default()
        });
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        Request {
            profiles,
            objects: found.objects,
            environment: std::env::vars_os().collect(),
            work_dir: self.at("work"),
            threads: 2,
        }
    }

    /// Returns what `llvm-cov` says of these profiles and programs without anything of ours between.
    async fn truth(
        &self,
        tools: &[Tools],
        profiles: &[(Kind, &[PathBuf])],
        programs: &[&Path],
    ) -> Vec<u8> {
        let merge = async |tools: &Tools, profiles: &[PathBuf], name: &str| {
            let sum = self.at(name);
            let merge = Command::new(&tools.profdata).args(["merge", "-sparse", "-o"]);
            merge.arg(&sum).args(profiles).success().await.unwrap();
            sum
        };
        let mut sums = Vec::new();
        for (kind, profiles) in profiles {
            let tools = tools.iter().find(|tools| tools.read(*kind)).unwrap();
            sums.push(merge(tools, profiles, &format!("truth of {kind:?}")).await);
        }
        let newest = tools.iter().max_by_key(|tools| tools.version).unwrap();
        let sum = merge(newest, &sums, "truth").await;
        let mut export = Command::new(&newest.cov)
            .args(["export", "-format=lcov", "-instr-profile"])
            .arg(&sum);
        for program in programs {
            export = export.arg("-object").arg(program);
        }
        export.success().await.unwrap().stdout
    }
}

/// What the `rustc` and the `clang-14` of the tests write.
const OF_RUST: Kind = Kind::Raw(10);
const OF_C: Kind = Kind::Raw(8);

fn states(outcome: &Outcome) -> Vec<String> {
    outcome
        .ledger
        .iter()
        .map(|entry| entry.state.to_string())
        .collect()
}

#[tokio::test]
async fn tracefile_is_what_llvm_says_of_all_whole_profiles() {
    let bench = Bench::new();
    let program = bench.build("rustc", "a, program").await;
    let mut whole = Vec::new();
    for args in [&[][..], &["1", "2"], &["1", "2", "3"]] {
        whole.push(bench.run(&program, args).await);
    }
    let bytes = fs::read(&whole[0]).unwrap();
    let mut large = bytes.clone();
    let counters = large
        .windows(8)
        .rposition(|word| word == 1_u64.to_le_bytes())
        .unwrap();
    large[counters..counters + 8].fill(0xff);
    let bad = [
        bench.file("cut", &bytes[..bytes.len() - 8]),
        bench.file("empty", b""),
        bench.file("text", b"segmentation fault\n"),
        bench.file("large", &large),
        bench.at("absent"),
    ];
    let profiles = [&bad[..2], &whole[..], &bad[2..]].concat();
    let outcome = coverage(bench.request(profiles)).await.unwrap();
    assert_eq!(
        states(&outcome),
        [
            "truncated",
            "empty",
            "used",
            "used",
            "used",
            "unusable (not a profile of LLVM)",
            "unusable (excessively large counter value suggests corrupted profile data: 18446744073709551615)",
            "unusable (No such file or directory (os error 2))",
        ]
    );
    assert!(
        outcome.ledger[2..5]
            .iter()
            .all(|entry| entry.has_object == Some(true))
    );
    assert_eq!(outcome.mismatched_functions, 0);
    let truth = bench
        .truth(&outcome.tools, &[(OF_RUST, &whole)], &[&program])
        .await;
    assert!(truth.starts_with(b"SF:"));
    assert_eq!(fs::read(&outcome.tracefile).unwrap(), truth);
}

#[tokio::test]
async fn programs_of_several_compilers_make_one_report() {
    let bench = Bench::new();
    let (rust, c) = (
        bench.build("rustc", "rust").await,
        bench.build("clang-14", "c").await,
    );
    bench.build("clang-14", "never-run").await;
    let of_rust = [bench.run(&rust, &["1", "2"]).await];
    let of_c = [
        bench.run(&c, &[]).await,
        bench.run(&c, &["1", "2", "3"]).await,
    ];
    let outcome = coverage(bench.request([&of_c[..], &of_rust].concat()))
        .await
        .unwrap();
    assert_eq!(states(&outcome), ["used"; 3]);
    assert_eq!(outcome.tools.len(), 2, "{:?}", outcome.tools);
    let (c, never, rust) = (
        bench.at("tree/c"),
        bench.at("tree/never-run"),
        bench.at("tree/rust"),
    );
    let truth = bench
        .truth(
            &outcome.tools,
            &[(OF_C, &of_c), (OF_RUST, &of_rust)],
            &[&c, &never, &rust],
        )
        .await;
    assert_eq!(fs::read(&outcome.tracefile).unwrap(), truth);
}

#[tokio::test]
async fn damaged_object_is_left_out_and_the_rest_exported() {
    let bench = Bench::new();
    let program = bench.build("rustc", "good").await;
    let damaged = bench.build("clang-14", "damaged").await;
    let mut bytes = fs::read(&damaged).unwrap();
    // A function record behind whose size the section ends.
    let at = covfun(&bytes);
    bytes[at + 8..at + 12].fill(0xff);
    fs::write(&damaged, bytes).unwrap();
    let profiles = vec![bench.run(&program, &[]).await];
    let outcome = coverage(bench.request(profiles.clone())).await.unwrap();
    let [(left_out, reason)] = outcome.left_out.as_slice() else {
        panic!("{:?}", outcome.left_out);
    };
    assert_eq!(left_out, &damaged);
    assert!(reason.starts_with("malformed coverage data"), "{reason}");
    let truth = bench
        .truth(&outcome.tools, &[(OF_RUST, &profiles)], &[&program])
        .await;
    assert_eq!(fs::read(&outcome.tracefile).unwrap(), truth);
}

/// Returns where the section `__llvm_covfun` begins.
fn covfun(bytes: &[u8]) -> usize {
    use object::read::{Object, ObjectSection};
    let file = object::File::parse(bytes).unwrap();
    let (offset, _) = file
        .section_by_name("__llvm_covfun")
        .unwrap()
        .file_range()
        .unwrap();
    usize::try_from(offset).unwrap()
}

#[tokio::test]
async fn profile_that_kills_the_tool_is_found_by_halves() {
    let bench = Bench::new();
    let program = bench.build("rustc", "program").await;
    let mut profiles = Vec::new();
    for _ in 0..5 {
        profiles.push(bench.run(&program, &[]).await);
    }
    let poison = bench.at("poison.profraw");
    fs::copy(&profiles[0], &poison).unwrap();
    let mut request = bench.request(profiles.clone());
    let found = tools::find(&request.environment).await;
    let fitting = found.iter().find(|tools| tools.read(OF_RUST)).unwrap();
    let script = format!(
        "#!/bin/sh\nfor list do grep -q poison -- \"$list\" 2>/dev/null && kill -SEGV $$; done\nexec {} \"$@\"\n",
        fitting.profdata.display()
    );
    let fake = bench.file("fragile", script.as_bytes());
    fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (name, program) in [("LLVM_PROFDATA", &fake), ("LLVM_COV", &fitting.cov)] {
        request.environment.push((name.into(), program.into()));
    }
    request.profiles.insert(2, poison);
    let outcome = coverage(request).await.unwrap();
    let mut expected = ["used"; 6];
    expected[2] = "unusable (signal: 11 (SIGSEGV))";
    let states: Vec<String> = states(&outcome)
        .iter()
        .map(|state| state.replace(" (core dumped)", ""))
        .collect();
    assert_eq!(states, expected);
    let truth = bench
        .truth(
            std::slice::from_ref(fitting),
            &[(OF_RUST, &profiles)],
            &[&program],
        )
        .await;
    assert_eq!(fs::read(&outcome.tracefile).unwrap(), truth);
}

#[tokio::test]
async fn without_a_usable_profile_the_ledger_says_why() {
    let bench = Bench::new();
    bench.build("rustc", "program").await;
    let profiles = vec![bench.file("0", b""), bench.file("1", b"")];
    let error = coverage(bench.request(profiles)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("none of 2 profiles could be used; the first, `"),
        "{error}"
    );
    assert!(error.help().unwrap().starts_with("every rank died"));
}
