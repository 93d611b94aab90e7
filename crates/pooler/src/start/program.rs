//! The program that runs here, and where it was started from.

use std::env;
use std::ffi::{OsStr, OsString};
use std::hint;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};

/// Its version, which stands in one place of the program and is not copied into
/// code that uses it: an upgrade is tried with a build in which only this was
/// changed.
pub(crate) fn version() -> &'static str {
    // Between marks, whatever text comes to stand beside it in the program.
    let marked = hint::black_box(concat!("<", env!("CARGO_PKG_VERSION"), ">"));
    marked.trim_matches(['<', '>'])
}

/// Where this program was started from: the path at which the next version of
/// it will be found, links and all.
///
/// To be asked at the start, before the folder or the file can have changed.
///
/// # Errors
///
/// The error of finding the current folder, or the program by its name.
pub(crate) fn path() -> io::Result<PathBuf> {
    let name = env::args_os().next().unwrap_or_default();
    if name.as_encoded_bytes().contains(&b'/') {
        return path::absolute(name);
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    match in_folders(&name, &folders) {
        Some(path) => path::absolute(path),
        None => env::current_exe(),
    }
}

/// The first program of this name in a list of folders, as a shell finds it.
fn in_folders(name: &OsStr, folders: &OsString) -> Option<PathBuf> {
    let paths = env::split_paths(folders).map(|folder| folder.join(name));
    let runs = |path: &Path| {
        let found = path.metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let mut found = paths.filter(|path| !name.is_empty() && runs(path));
    found.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_program_in_the_first_folder_that_has_it() {
        let folders = OsString::from("/nowhere:/bin:/usr/bin");
        let found = in_folders(OsStr::new("sh"), &folders);
        assert_eq!(found.as_deref(), Some(Path::new("/bin/sh")));
        assert_eq!(in_folders(OsStr::new("no such program"), &folders), None);
        assert_eq!(in_folders(OsStr::new(""), &folders), None);
    }

    #[test]
    fn is_absolute() {
        assert!(path().is_ok_and(|path| path.is_absolute()));
    }
}
