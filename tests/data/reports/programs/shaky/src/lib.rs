#[cfg(test)]
mod tests {
    #[test]
    fn adds() { assert_eq!(1 + 1, 2); }
    /// Fails once in each folder.
    #[test]
    fn shaky() {
        let Ok(dir) = std::env::var("SHAKY") else { return };
        let mark = std::path::Path::new(&dir).join("mark");
        if !mark.exists() { std::fs::write(mark, "").unwrap(); panic!("first time"); }
    }
    #[test]
    fn prints() { print!("norm 1e-9"); }
    #[test]
    fn prints_lines() { print!("step 1\nstep 2 "); }
}
