//! The title of this process, as `ps` shows it.
//!
//! It is written over the arguments and the environment that the process was
//! started with; the environment is moved away first.
//!
//! Source: proc(5), `arg_start` to `env_end` of `/proc/PID/stat`.

use std::ffi::CString;
use std::fs;
use std::io;

use nix::libc;
use nix::sys::prctl::set_name;
use zeroize::Zeroize;

/// The memory that a title is written to.
///
/// Always true: `start` is the first of `length` bytes that belong to this
/// process for good and that nothing else uses.
#[derive(Debug)]
pub(crate) struct Title {
    start: usize,
    length: usize,
}

impl Title {
    /// Takes over the memory of arguments and environment.
    ///
    /// To be called once, while there is one thread and after the arguments
    /// were read: they are gone when a title is set. Variables that hold somebody's
    /// secret are gone for good then, so that no core file has them.
    ///
    /// # Errors
    ///
    /// The error of reading `/proc/self/stat`, or `InvalidData`.
    pub(crate) fn take() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (start, end) = area(&stat).ok_or(io::ErrorKind::InvalidData)?;
        for (name, value) in std::env::vars_os() {
            if name.as_encoded_bytes().contains(&b'=') {
                continue;
            }
            if is_secret(&name.to_string_lossy()) {
                // SAFETY: there is one thread, so nobody reads the environment now.
                unsafe { std::env::remove_var(name) };
                value.into_encoded_bytes().zeroize();
                continue;
            }
            // SAFETY: there is one thread, so nobody reads the environment now.
            // Setting a variable copies it to memory of the C library.
            unsafe { std::env::set_var(name, value) };
        }
        Ok(Self {
            start,
            length: end - start,
        })
    }

    /// Sets the title; what does not fit is cut off.
    pub(crate) fn set(&self, title: &str) {
        let mut bytes = title.as_bytes().to_vec();
        bytes.truncate(self.length.saturating_sub(1));
        bytes.resize(self.length, 0);
        let start = std::ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: by the invariant of the type; the kernel put the memory at
        // this address and made it writable.
        unsafe { libc::memcpy(start.cast(), bytes.as_ptr().cast(), bytes.len()) };
        // The name that `ps -e` and `top` show has 15 bytes.
        if let Ok(name) = CString::new(title) {
            let _name_is_decoration = set_name(&name);
        }
    }
}

/// Whether a variable of this name may hold a secret, such as `PGPASSWORD`.
/// pgskein itself uses none that does.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// First byte of the arguments and the byte after the environment, when the
/// one area follows the other.
fn area(stat: &str) -> Option<(usize, usize)> {
    // The name of the program may hold anything, but nothing after it does.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(ARG_START - 3);
    let mut next = || fields.next()?.parse::<usize>().ok();
    let (arg_start, arg_end, env_start, env_end) = (next()?, next()?, next()?, next()?);
    let in_order = arg_start < arg_end && arg_end <= env_start && env_start <= env_end;
    (arg_start != 0 && in_order).then_some((arg_start, env_end))
}

/// What the names of variables with secrets have in them.
const SECRET_WORDS: [&str; 5] = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN"];

/// Number of the field `arg_start`; the state after the name is number 3.
const ARG_START: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_area_behind_a_name_with_spaces_and_brackets() {
        let mut stat = "1 (a) b) S".to_owned();
        for number in 4..=52 {
            stat.push_str(&format!(" {number}"));
        }
        assert_eq!(area(&stat), Some((48, 51)));
    }

    #[test]
    fn knows_variables_with_secrets_by_their_names() {
        for name in [
            "PGPASSWORD",
            "db_password",
            "API_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "NOTIFY_SOCKET", "PGPASSFILE", "TZ", "LD_PRELOAD"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn rejects_what_is_no_area() {
        assert_eq!(area("1 (a) S 1 2 3"), None);
        assert_eq!(area(""), None);
    }
}
