//! The files of a configuration, read from the disk.

use std::fs;
use std::io;
use std::path::Path;

use pgskein_config::{Config, Finding, Sources};

use crate::tls;

/// Reads the configuration in `main` and every file that it names.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn read(main: &Path) -> Result<(Sources, Config), Vec<Finding>> {
    // A name that cannot be read is found to be none, where it counts.
    let host_name = nix::unistd::gethostname().unwrap_or_default();
    Sources::gather(main, &host_name.to_string_lossy(), &mut |path| {
        read_text(path).map_err(|error| error.to_string())
    })
    .and_then(tls::checked)
}

fn read_text(path: &Path) -> io::Result<String> {
    // A pipe or a device could keep the whole group waiting.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    fs::read_to_string(path)
}
