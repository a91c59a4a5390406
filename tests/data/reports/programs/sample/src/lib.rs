/// ```
/// assert_eq!(sample::two(), 2);
/// ```
pub fn two() -> u32 { 2 }

#[cfg(test)]
mod tests {
    #[test]
    fn adds() { assert_eq!(super::two(), 2); }
    #[test]
    fn fails() { println!("about to fail"); assert_eq!(super::two(), 3, "two is not three"); }
    #[test]
    #[ignore = "needs a GPU"]
    fn ignored() {}
    #[test]
    #[should_panic(expected = "boom")]
    fn panics() { panic!("boom"); }
    #[test]
    fn flaky() {
        let dir = std::env::var("FLAKY").unwrap_or("/nonexistent".into());
        let path = std::path::Path::new(&dir).join("mark");
        if dir != "/nonexistent" && !path.exists() { std::fs::write(path, "").unwrap(); panic!("first time"); }
    }
    #[test]
    #[cfg(feature = "abort")]
    fn aborts() { std::process::abort(); }
}
