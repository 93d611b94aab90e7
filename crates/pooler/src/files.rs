//! The files of a configuration, read from the disk.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use pgskein_config::{Config, Finding, Sources};
use zeroize::Zeroizing;

use crate::{pam_check, tls};

/// Reads the configuration in `main` and every file that it names.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn read(main: &Path) -> Result<(Sources, Config), Vec<Finding>> {
    let (sources, mut config) = Sources::gather(main, &host_name(), &mut read_text)?;
    usable(&mut config)?;
    Ok((sources, config))
}

/// Reads a configuration as [`read`] does: what can be read of it, and what is wrong.
pub(crate) fn examine(main: &Path) -> (Config, Vec<Finding>) {
    let (mut config, mut findings) = Sources::examine(main, &host_name(), &mut read_text);
    if findings.is_empty() {
        findings = usable(&mut config).err().unwrap_or_default();
    }
    (config, findings)
}

/// Finds out whether certificates and keys can be used, and PAM if it is named; adds
/// what is worth a warning.
///
/// # Errors
///
/// What is wrong with them.
pub(crate) fn usable(config: &mut Config) -> Result<(), Vec<Finding>> {
    tls::Secured::of(config)
        .and_then(|_| pam_check::usable(config))
        .map_err(|finding| vec![finding])?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let warnings = tls::warnings(config, now.unwrap_or_default().as_secs());
    config.warnings.extend(warnings);
    Ok(())
}

/// The name of this host; one that cannot be read is found to be none, where it
/// counts.
fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn read_text(path: &Path) -> Result<String, String> {
    let read = || {
        // A pipe or a device could keep the whole group waiting.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        text_of(fs::read(path)?)
    };
    read().map_err(|error: io::Error| error.to_string())
}

/// The text of a file with these bytes.
///
/// What stands around the blocks of a PEM file is comment, in any encoding; its
/// blocks are ASCII, or no good.
fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).or_else(|error| {
        let bytes = Zeroizing::new(error.into_bytes());
        if bytes.windows(PEM.len()).any(|bytes| bytes == PEM) {
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        } else if bytes.first() == Some(&SEQUENCE) {
            Err(io::Error::other("it is no PEM file, DER it may be"))
        } else {
            Err(io::Error::other("it is not in UTF-8"))
        }
    })
}

/// What every block of a PEM file begins with.
const PEM: &[u8] = b"-----BEGIN ";

/// What certificates and keys begin with in DER.
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pem_with_comments_in_any_encoding() {
        let text = text_of(b"M\xfcller\n-----BEGIN X-----\nAA==\n".to_vec()).unwrap();
        assert!(text.ends_with("ller\n-----BEGIN X-----\nAA==\n"), "{text}");
        assert_eq!(text_of("Müller".into()).unwrap(), "Müller");
    }

    #[test]
    fn says_what_a_file_is_that_cannot_be_read() {
        let said = |bytes: &[u8]| text_of(bytes.to_vec()).unwrap_err().to_string();
        assert_eq!(said(b"M\xfcller"), "it is not in UTF-8");
        assert_eq!(
            said(b"\x30\x82\x01\xff"),
            "it is no PEM file, DER it may be"
        );
    }
}
