//! Variables by which a caller steers the shells and the `make` of others, whatever their code says.

/// Variables that change how a shell works, and which other files it reads: a script under `BASH_ENV` may end before its first line,
/// `CDPATH` sends `cd` elsewhere, `TMOUT` ends a `read`, `IFS` splits other words. See "Shell Variables" in bash(1), dash(1), zsh(1).
pub const VARIABLES: &[&str] = &[
    "BASHOPTS",
    "BASH_ARGV0",
    "BASH_COMPAT",
    "BASH_ENV",
    "BASH_LOADABLES_PATH",
    "BASH_XTRACEFD",
    "CDPATH",
    "ENV",
    "EXECIGNORE",
    "FIGNORE",
    "FPATH",
    "FUNCNEST",
    "GLOBIGNORE",
    "GLOBSORT",
    "IFS",
    "POSIXLY_CORRECT",
    "POSIX_PEDANTIC",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "SHELLOPTS",
    "TIMEFORMAT",
    "TMOUT",
    "ZDOTDIR",
];

/// Beginnings of variables that hold functions, by which a shell replaces commands of that name.
const FUNCTIONS: &[&str] = &["BASH_FUNC_", "__BASH_FUNC"];

/// Variables by which one `make` steers another: `-n` would build nothing, `-i` pass over errors, and the jobs of the outer are not ours.
const OF_MAKE: &[&str] = &[
    "GNUMAKEFLAGS",
    "MAKEFILES",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
];

/// Returns whether a variable of this name changes how shells or `make` work, whatever the project's code says.
#[must_use]
pub fn is_steered_by(name: &str) -> bool {
    VARIABLES.contains(&name)
        || OF_MAKE.contains(&name)
        || FUNCTIONS.iter().any(|start| name.starts_with(start))
        // Shells before 2014 took any value that looks like a function.
        || name.contains("()")
}
