# 25 test programs of a Rust workspace: `build` makes the program, `one NUMBER` runs it once. Both are called in a directory of its own.

build() {
    mkdir -p src tests
    printf '[package]\nname = "sample"\nedition = "2021"\n[workspace]\n[dependencies]\nregex = "1"\nserde_json = "1"\nitertools = "0.14"\nindexmap = "2"\nserde = { version = "1", features = ["derive"] }\n' >Cargo.toml
    cat >src/lib.rs <<'EOF'
use std::collections::BTreeMap;
pub fn count(text: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace() { *counts.entry(word.to_owned()).or_insert(0) += 1; }
    counts
}
pub fn matches(pattern: &str, text: &str) -> usize { regex::Regex::new(pattern).unwrap().find_iter(text).count() }
#[cfg(test)]
mod tests { #[test] fn it() { assert_eq!(super::count("a b a").len(), 2); } }
EOF
    for i in $(seq 1 24); do cat >tests/t$i.rs <<EOF
use itertools::Itertools;
#[derive(serde::Serialize, serde::Deserialize)] struct Item { a: u32, b: Vec<String> }
#[test] fn counts() { if $i % 3 != 0 { assert_eq!(sample::count("x y z x")["x"], 2); } }
#[test] fn patterns() { if $i % 2 == 0 { assert!(sample::matches(r"(\\d+|a{2,$i})\\w*", "aa12 b7 aaaa") > 0); } }
#[test] fn json() { if $i % 5 == 0 { let item: Item = serde_json::from_str(r#"{"a":$i,"b":["x"]}"#).unwrap(); assert_eq!(item.a, $i); } }
#[test] fn chunks() { let mut map = indexmap::IndexMap::new(); map.insert($i, (0..$i).chunks(3).into_iter().count()); assert!(map.contains_key(&$i)); }
EOF
    done
    RUSTFLAGS=-Cinstrument-coverage CARGO_TARGET_DIR=$PWD/build cargo test --no-run --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | while read -r program; do cp "$program" bin/; done
}
one() { for program in bin/*; do LLVM_PROFILE_FILE=real/$(printf %05d $1)-$(basename $program).profraw $program -q >/dev/null; done; }
