//! Writes the documents that come from the table of settings: `etc/pgskein.ini`
//! and `doc/settings.md` below the folder given as the argument.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    let files = [
        ("etc/pgskein.ini", pgskein_config::sample_ini()),
        ("doc/settings.md", pgskein_config::reference_markdown()),
    ];
    for (name, text) in files {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
