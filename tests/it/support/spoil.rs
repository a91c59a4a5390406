//! What may stand in the place of a file.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Puts something else in the place of a file.
pub(crate) type Spoil = fn(&Path);

pub(crate) const KINDS: &[(&str, Spoil)] = &[
    ("a FIFO", |path| {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }),
    ("a link to /dev/zero", |path| {
        symlink("/dev/zero", path).unwrap();
    }),
    ("a socket", |path| {
        // Paths of sockets are short.
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("s");
        drop(UnixListener::bind(&made).unwrap());
        std::fs::rename(&made, path).unwrap();
    }),
    ("a sparse file", |path| {
        let file = std::fs::File::create(path).unwrap();
        file.set_len(3 << 30).unwrap();
    }),
    ("a folder", |path| std::fs::create_dir(path).unwrap()),
    ("an unreadable file", |path| {
        std::fs::write(path, "x").unwrap();
        let none = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(path, none).unwrap();
    }),
    ("nothing", |_| {}),
    ("a link out of the folder", |path| {
        symlink("/etc/passwd", path).unwrap();
    }),
    ("a dense file of other bytes", |path| {
        std::fs::write(path, vec![b'{'; 1 << 20]).unwrap();
    }),
];

/// Removes what stands there, and puts something else in its place.
pub(crate) fn replace(path: &Path, spoil: Spoil) {
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else {
        std::fs::remove_file(path).ok();
    }
    spoil(path);
}
