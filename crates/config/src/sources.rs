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
use crate::load::{examine, load};
use crate::secret_text::SecretText;

/// The text of every file that a configuration consists of.
#[derive(Clone, Eq, PartialEq)]
pub struct Sources {
    main: PathBuf,
    files: BTreeMap<PathBuf, SecretText>,
    /// Settings that have another value than the files say.
    overrides: BTreeMap<String, String>,
    /// The name of this host.
    host_name: String,
}

impl Sources {
    /// Reads `main` and every file that it names, by `read`, which returns the
    /// text of a file or the reason why it cannot be read. `host_name` is the
    /// name of this host.
    ///
    /// # Errors
    ///
    /// Every finding that keeps the configuration from being used, in the
    /// order of files and lines.
    pub fn gather(
        main: &Path,
        host_name: &str,
        read: &mut dyn FnMut(&Path) -> Result<String, String>,
    ) -> Result<(Self, Config), Vec<Finding>> {
        let mut files = BTreeMap::<PathBuf, SecretText>::new();
        let overrides = BTreeMap::new();
        let config = load(main, &overrides, host_name, &mut |path| {
            // A file that is named twice is the same both times.
            if let Some(text) = files.get(path) {
                return Ok((**text).to_owned());
            }
            let text = read(path)?;
            files.insert(path.to_owned(), text.as_str().into());
            Ok(text)
        })?;
        let sources = Self {
            main: main.to_owned(),
            files,
            overrides,
            host_name: host_name.to_owned(),
        };
        Ok((sources, config))
    }

    /// Reads as [`Sources::gather`] does: what can be read of the configuration, and
    /// everything that is wrong with it.
    pub fn examine(
        main: &Path,
        host_name: &str,
        read: &mut dyn FnMut(&Path) -> Result<String, String>,
    ) -> (Config, Vec<Finding>) {
        examine(main, &BTreeMap::new(), host_name, read)
    }

    /// These files with another value of one setting, until they are read
    /// again.
    ///
    /// # Errors
    ///
    /// What keeps the setting from having this value.
    pub fn with(&self, name: &str, value: &str) -> Result<(Self, Config), Vec<Finding>> {
        let mut sources = self.clone();
        sources.overrides.insert(name.to_owned(), value.to_owned());
        let config = sources.config()?;
        Ok((sources, config))
    }

    /// These files with the values that were given to settings beside `others`.
    ///
    /// # Errors
    ///
    /// What keeps a setting from having such a value.
    pub fn with_values_of(&self, others: &Self) -> Result<(Self, Config), Vec<Finding>> {
        let mut sources = self.clone();
        let values = others.overrides.iter();
        sources
            .overrides
            .extend(values.map(|(name, value)| (name.clone(), value.clone())));
        let config = sources.config()?;
        Ok((sources, config))
    }

    /// The configuration that these files make.
    ///
    /// # Errors
    ///
    /// Every finding that keeps the configuration from being used, in the
    /// order of files and lines.
    pub fn config(&self) -> Result<Config, Vec<Finding>> {
        load(&self.main, &self.overrides, &self.host_name, &mut |path| {
            let text = self.files.get(path).map(|text| (**text).to_owned());
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
    /// eight bytes before it: the name of the main file, from version 2 on name
    /// and value of every override behind their number in eight bytes, from
    /// version 3 on the name of this host, then name and content of every file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(self.main.as_os_str().as_bytes(), &mut out);
        out.extend_from_slice(&(self.overrides.len() as u64).to_be_bytes());
        for (name, value) in &self.overrides {
            put(name.as_bytes(), &mut out);
            put(value.as_bytes(), &mut out);
        }
        put(self.host_name.as_bytes(), &mut out);
        for (path, text) in &self.files {
            put(path.as_os_str().as_bytes(), &mut out);
            put(text.as_bytes(), &mut out);
        }
        out
    }

    /// Reads what [`Sources::encode`] wrote, or returns `None` when `bytes`
    /// are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if !(1..=VERSION).contains(version) {
            return None;
        }
        let main = path(take(&mut rest)?);
        let mut overrides = BTreeMap::new();
        if *version > 1 {
            for _ in 0..number(&mut rest)? {
                let name = text(take(&mut rest)?)?;
                overrides.insert(name, text(take(&mut rest)?)?);
            }
        }
        let host_name = if *version > 2 {
            text(take(&mut rest)?)?
        } else {
            String::new()
        };
        let mut files = BTreeMap::new();
        while !rest.is_empty() {
            let name = path(take(&mut rest)?);
            files.insert(name, text(take(&mut rest)?)?.into());
        }
        Some(Self {
            main,
            files,
            overrides,
            host_name,
        })
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

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_be_bytes(*number))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Version of the encoding.
const VERSION: u8 = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "pooler-1";

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
        let (sources, config) = Sources::gather(Path::new("a.ini"), HOST, &mut read).unwrap();
        let received = Sources::decode(&sources.encode()).unwrap();
        assert_eq!(received, sources);
        assert_eq!(received.main(), Path::new("a.ini"));
        assert!(received.config().unwrap() == config);
        assert_eq!(config.auth["alice"], "hunter2");
    }

    #[test]
    fn names_a_main_file_that_cannot_be_read() {
        let findings = Sources::gather(Path::new("x.ini"), HOST, &mut read).unwrap_err();
        assert_eq!(
            findings[0].to_string(),
            "x.ini: cannot read x.ini: no such file"
        );
    }

    #[test]
    fn has_warnings_beside_what_is_wrong() {
        let mut read =
            |_: &Path| Ok("[pgskein]\nauth_type = any\npkt_buf = 1\nworkers = x\n".to_owned());
        let (config, findings) = Sources::examine(Path::new("a.ini"), HOST, &mut read);
        assert_eq!((config.warnings.len(), config.warnings[0].line), (1, 3));
        assert_eq!((findings.len(), findings[0].line), (1, 4));
    }

    #[test]
    fn reads_a_recorded_encoding_of_version_1() {
        let bytes = b"\x01\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x03; x";
        let sources = Sources::decode(bytes).unwrap();
        assert_eq!(sources.main(), Path::new("a"));
        let files = [(PathBuf::from("a"), "; x".into())];
        assert_eq!(sources.files, files.into());
        assert!(sources.overrides.is_empty());
    }

    #[test]
    fn reads_a_recorded_encoding_of_version_2() {
        let bytes = b"\x02\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01n\
                      \0\0\0\0\0\0\0\x01v\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x03; x";
        let sources = Sources::decode(bytes).unwrap();
        let overrides = [("n".to_owned(), "v".to_owned())];
        assert_eq!(sources.overrides, overrides.into());
        assert_eq!(sources.host_name, "");
    }

    #[test]
    fn reads_a_recorded_encoding_of_version_3() {
        let bytes = b"\x03\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01n\
                      \0\0\0\0\0\0\0\x01v\0\0\0\0\0\0\0\x03h-1\
                      \0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x03; x";
        let sources = Sources::decode(bytes).unwrap();
        assert_eq!(sources.host_name, "h-1");
        assert_eq!(sources.encode(), bytes);
    }

    #[test]
    fn gives_a_setting_another_value_than_the_files_until_they_are_read() {
        let (sources, old) = Sources::gather(Path::new("a.ini"), HOST, &mut read).unwrap();
        let (changed, config) = sources.with("default_pool_size", "3").unwrap();
        assert_eq!(config.settings.default_pool_size, 3);
        let (changed, _) = changed.with("query_wait_timeout", "7").unwrap();
        let received = Sources::decode(&changed.encode()).unwrap().config();
        let settings = received.unwrap().settings;
        assert_eq!(settings.default_pool_size, 3);
        assert_eq!(settings.query_wait_timeout.as_secs(), 7);
        let (_, new) = Sources::gather(changed.main(), HOST, &mut read).unwrap();
        assert!(new == old);
    }

    #[test]
    fn says_without_a_file_why_a_setting_cannot_have_a_value() {
        let (sources, _) = Sources::gather(Path::new("a.ini"), HOST, &mut read).unwrap();
        for (name, value, expected) in [
            (
                "default_pool_size",
                "x",
                "default_pool_size: bad value \"x\", expected a whole number",
            ),
            (
                "default_pol_size",
                "1",
                "default_pol_size: unknown setting, did you mean default_pool_size?",
            ),
            (
                "listen_port",
                "7000",
                "listen_port: takes effect at the next start only",
            ),
            (
                "scram_iterations",
                "0",
                "scram_iterations: expected 1 to 1000000",
            ),
            (
                "auth_file",
                "gone",
                "auth_file: cannot read gone: it is not among the sources",
            ),
        ] {
            let findings = sources.with(name, value).unwrap_err();
            assert_eq!(findings[0].to_string(), expected);
        }
    }

    #[test]
    fn rejects_every_prefix_that_ends_inside_a_text() {
        let (sources, _) = Sources::gather(Path::new("a.ini"), HOST, &mut read).unwrap();
        let bytes = sources.encode();
        assert_eq!(Sources::decode(&[]), None);
        assert_eq!(Sources::decode(b"\x04"), None);
        assert_eq!(Sources::decode(b"\x02\0\0\0\0\0\0\0\x01a"), None);
        assert_eq!(Sources::decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn shows_no_text_in_debug_output() {
        let (sources, _) = Sources::gather(Path::new("a.ini"), HOST, &mut read).unwrap();
        assert!(!format!("{sources:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn encodes_and_decodes_any_text(
            main: String,
            files in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..5),
            overrides in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3),
            host_name: String,
        ) {
            let files = files.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
            let sources = Sources { main: main.into(), files, overrides, host_name };
            prop_assert_eq!(Sources::decode(&sources.encode()), Some(sources));
        }

        #[test]
        fn never_panics_on_any_bytes(bytes: Vec<u8>) {
            let _ = Sources::decode(&bytes);
        }
    }
}
