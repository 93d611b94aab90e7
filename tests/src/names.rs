//! Names that lead where a scenario wants, for one pooler.
//!
//! A small library is loaded in front of the C library, which has the addresses
//! of names below `.test` and the names of addresses from files, and from another
//! the name of the host.

use std::fs;
use std::path::PathBuf;

use crate::account::Account;
use crate::folder::Folder;
use crate::preload;

/// The library and the folder of its files; for
/// [`Pooler::start_in`](crate::Pooler::start_in).
#[derive(Debug)]
pub struct Names {
    folder: Folder,
    library: PathBuf,
}

impl Names {
    /// Compiles the library; there is no name yet.
    pub fn make() -> Self {
        let account = Account::unprivileged();
        let folder = Folder::make("names", &account);
        account.make_folder(&folder.join("hosts"), 0o755);
        account.make_folder(&folder.join("addresses"), 0o755);
        let library = preload::compile(&folder, "names", SOURCE);
        Self { folder, library }
    }

    /// What the pooler's environment has to have.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.path();
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("PGSKEIN_NAMES", folder.display().to_string()),
        ]
    }

    /// Gives a name below `.test` these addresses, with blanks between them.
    pub fn put(&self, name: &str, addresses: &str) {
        self.write(&format!("hosts/{name}"), addresses);
    }

    /// Gives an address a name; nobody is answered as long as that is `wait`.
    pub fn call(&self, address: &str, name: &str) {
        self.write(&format!("addresses/{address}"), name);
    }

    /// How often the name of an address was asked for.
    pub fn asked(&self, address: &str) -> usize {
        let asked = fs::read_to_string(self.folder.join("asked")).unwrap_or_default();
        asked.lines().filter(|line| *line == address).count()
    }

    /// Takes a name away.
    pub fn remove(&self, name: &str) {
        let path = self.folder.join(&format!("hosts/{name}"));
        fs::remove_file(path).expect("the name was there");
    }

    /// Gives the host a name.
    pub fn be_called(&self, name: &str) {
        self.write("hostname", name);
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        let new = path.with_extension("new");
        fs::write(&new, text).expect("a file can be written");
        fs::rename(&new, &path).expect("a file can be put in place");
    }
}

const SOURCE: &str = include_str!("names.c");
