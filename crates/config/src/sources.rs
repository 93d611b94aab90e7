//! The text of every file of a configuration.
//!
//! The supervisor reads the files once and ships their text to the workers,
//! which come to the same [`Config`] without touching a file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::finding::Finding;
use crate::load::load;

/// The text of every file that a configuration consists of.
#[derive(Clone, Eq, PartialEq)]
pub struct Sources {
    main: PathBuf,
    files: BTreeMap<PathBuf, String>,
}

impl Sources {
    /// Reads `main` and every file that it names, by `read`, which returns the
    /// text of a file or the reason why it cannot be read.
    ///
    /// # Errors
    ///
    /// Every finding that keeps the configuration from being used, in the
    /// order of files and lines.
    pub fn gather(
        main: &Path,
        read: &mut dyn FnMut(&Path) -> Result<String, String>,
    ) -> Result<(Self, Config), Vec<Finding>> {
        let mut files = BTreeMap::new();
        let config = load(main, &mut |path| {
            // A file that is named twice is the same both times.
            if let Some(text) = files.get(path) {
                return Ok(String::clone(text));
            }
            let text = read(path)?;
            files.insert(path.to_owned(), text.clone());
            Ok(text)
        })?;
        let main = main.to_owned();
        Ok((Self { main, files }, config))
    }

    /// The configuration that these files make.
    ///
    /// # Errors
    ///
    /// Every finding that keeps the configuration from being used, in the
    /// order of files and lines.
    pub fn config(&self) -> Result<Config, Vec<Finding>> {
        load(&self.main, &mut |path| {
            let text = self.files.get(path).cloned();
            text.ok_or_else(|| "it is not among the sources".to_owned())
        })
    }

    /// The file that names all others.
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// Writes all files as bytes, for another process.
    ///
    /// A byte for the version is followed by texts, each with its length in
    /// eight bytes before it: the name of the main file, then name and content
    /// of every file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(self.main.as_os_str().as_bytes(), &mut out);
        for (path, text) in &self.files {
            put(path.as_os_str().as_bytes(), &mut out);
            put(text.as_bytes(), &mut out);
        }
        out
    }

    /// Reads what [`Sources::encode`] wrote, or returns `None` when `bytes`
    /// are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let main = path(take(&mut rest)?);
        let mut files = BTreeMap::new();
        while !rest.is_empty() {
            let name = path(take(&mut rest)?);
            let text = std::str::from_utf8(take(&mut rest)?).ok()?;
            files.insert(name, text.to_owned());
        }
        Some(Self { main, files })
    }
}

impl fmt::Debug for Sources {
    /// Shows the names of the files, whose text holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
    }
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    let (bytes, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Version of the encoding.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: &Path) -> Result<String, String> {
        match path.to_str() {
            Some("a.ini") => Ok("%include b.ini\n[pgskein]\nauth_file = u.txt\n".to_owned()),
            Some("b.ini") => Ok("[databases]\nshop = host=h\n".to_owned()),
            Some("u.txt") => Ok("\"alice\" \"hunter2\"\n".to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }

    #[test]
    fn makes_the_same_configuration_in_another_process() {
        let (sources, config) = Sources::gather(Path::new("a.ini"), &mut read).unwrap();
        let received = Sources::decode(&sources.encode()).unwrap();
        assert_eq!(received, sources);
        assert_eq!(received.main(), Path::new("a.ini"));
        assert!(received.config().unwrap() == config);
        assert_eq!(config.auth["alice"], "hunter2");
    }

    #[test]
    fn names_a_main_file_that_cannot_be_read() {
        let findings = Sources::gather(Path::new("x.ini"), &mut read).unwrap_err();
        assert_eq!(
            findings[0].to_string(),
            "x.ini: cannot read x.ini: no such file"
        );
    }

    #[test]
    fn reads_a_recorded_encoding_of_version_1() {
        let bytes = b"\x01\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x03; x";
        let sources = Sources::decode(bytes).unwrap();
        assert_eq!(sources.main(), Path::new("a"));
        assert_eq!(sources.encode(), bytes);
    }

    #[test]
    fn rejects_every_prefix_that_ends_inside_a_text() {
        let (sources, _) = Sources::gather(Path::new("a.ini"), &mut read).unwrap();
        let bytes = sources.encode();
        assert_eq!(Sources::decode(&[]), None);
        assert_eq!(Sources::decode(b"\x02"), None);
        assert_eq!(Sources::decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn shows_no_text_in_debug_output() {
        let (sources, _) = Sources::gather(Path::new("a.ini"), &mut read).unwrap();
        assert!(!format!("{sources:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn encodes_and_decodes_any_text(
            main: String,
            files in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..5),
        ) {
            let files = files.into_iter().map(|(name, text)| (name.into(), text)).collect();
            let sources = Sources { main: main.into(), files };
            prop_assert_eq!(Sources::decode(&sources.encode()), Some(sources));
        }

        #[test]
        fn never_panics_on_any_bytes(bytes: Vec<u8>) {
            let _ = Sources::decode(&bytes);
        }
    }
}
