//! What to do when the operating system refuses a file. The advice follows from the error's number, never from a guess.

use std::io;
use std::path::Path;

use nix::errno::Errno;

/// Returns the number that the operating system gave. What `fs_err` wraps keeps it in its text alone.
#[must_use]
pub fn number(error: &io::Error) -> Option<Errno> {
    let told = || {
        let text = error.to_string();
        let number = text.strip_suffix(')')?.rsplit_once("(os error ")?.1;
        number.parse().ok()
    };
    error.raw_os_error().or_else(told).map(Errno::from_raw)
}

/// Returns what to do about an error with a file or folder; `None` where its number does not tell.
#[must_use]
pub fn of_file(error: &io::Error, path: &Path) -> Option<String> {
    let path = shell_words::quote(&path.to_string_lossy()).into_owned();
    Some(match number(error)? {
        Errno::ENOSPC => format!(
            "no room is left there: `df -h {path}` and `df -i {path}` tell of bytes and files; `hpc-ci gc` removes what old runs left"
        ),
        Errno::EDQUOT => format!(
            "your quota there is used up: `quota -s`, or `lfs quota -hu $USER {path}` on Lustre, shows it; `hpc-ci gc` removes what old \
             runs left"
        ),
        Errno::EROFS => format!(
            "its file system is mounted read-only: `findmnt -T {path}` shows it; choose a place that can be written from here"
        ),
        Errno::ESTALE => format!(
            "the file server does not know it any more (a stale handle): it was removed on another host, or the server began anew; \
             `ls -ld {path}` asks again"
        ),
        Errno::EACCES | Errno::EPERM => {
            format!("you may not: `namei -l {path}` shows whose every folder on the way is")
        }
        Errno::ENOENT => format!("`namei -l {path}` shows which part of the path is missing"),
        Errno::ENOTDIR => format!("`namei -l {path}` shows which part of the path is no folder"),
        Errno::ELOOP => format!("`namei -l {path}` shows the links that lead in a circle"),
        Errno::EMFILE | Errno::ENFILE => {
            "too many files are open: `ulimit -n` shows the limit of this shell".to_owned()
        }
        Errno::EIO
        | Errno::ETIMEDOUT
        | Errno::EHOSTDOWN
        | Errno::EHOSTUNREACH
        | Errno::ENOTCONN
        | Errno::ESHUTDOWN => format!(
            "its disk or file server fails: `findmnt -T {path}` names it; tell the site, and begin again when it answers"
        ),
        _ => return None,
    })
}

/// Returns what to do about an error that names its file itself, as those of `fs_err` do.
#[must_use]
pub fn of_named(error: &io::Error) -> Option<String> {
    of_file(error, Path::new(error.to_string().split('`').nth(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_advice() {
        let check = |number: Errno, expected: Option<&str>| {
            let plain = io::Error::from_raw_os_error(number as i32);
            let advice = of_file(&plain, Path::new("/scratch/a b"));
            let begin = advice
                .as_deref()
                .map(|text| &text[..expected.map_or(0, str::len).min(text.len())]);
            assert_eq!(begin, expected, "{number}");
        };
        check(
            Errno::ENOSPC,
            Some("no room is left there: `df -h '/scratch/a b'`"),
        );
        check(Errno::EDQUOT, Some("your quota there is used up"));
        check(Errno::EROFS, Some("its file system is mounted read-only"));
        check(
            Errno::ESTALE,
            Some("the file server does not know it any more"),
        );
        check(Errno::EACCES, Some("you may not: `namei -l"));
        check(Errno::EPERM, Some("you may not: `namei -l"));
        check(
            Errno::ENOENT,
            Some("`namei -l '/scratch/a b'` shows which part of the path is missing"),
        );
        check(
            Errno::ENOTDIR,
            Some("`namei -l '/scratch/a b'` shows which part of the path is no folder"),
        );
        check(
            Errno::ELOOP,
            Some("`namei -l '/scratch/a b'` shows the links"),
        );
        check(Errno::EMFILE, Some("too many files are open"));
        check(Errno::EIO, Some("its disk or file server fails"));
        check(Errno::ESHUTDOWN, Some("its disk or file server fails"));
        check(Errno::EINVAL, None);
    }

    #[test]
    fn a_wrapped_error_keeps_its_number() {
        let error = fs_err::File::open("/nonexistent/file").err();
        assert_eq!(error.as_ref().and_then(number), Some(Errno::ENOENT));
        let named = error.as_ref().and_then(of_named);
        assert!(named.is_some_and(|it| it.starts_with("`namei -l /nonexistent/file`")));
        let again = error.map(io::Error::other);
        assert_eq!(again.as_ref().and_then(number), Some(Errno::ENOENT));
        assert_eq!(number(&io::Error::other("a text")), None);
    }
}
