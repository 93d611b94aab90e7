//! A configuration of up to several files, from the text to the settings.
//!
//! The input is split at NUL bytes: the main file, then what every further file
//! is served in the order in which the files are asked for.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pgskein_config::{Sources, table};

fuzz_target!(|bytes: &[u8]| {
    let _ = Sources::decode(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut files = text.split('\0').map(str::to_owned);
    let main = Path::new("pgskein.ini");
    let mut read = |_: &Path| files.next().ok_or_else(|| "no such file".to_owned());
    match Sources::gather(main, "pooler-1", &mut read) {
        Ok((sources, config)) => {
            let sent = Sources::decode(&sources.encode());
            assert!(sent.as_ref() == Some(&sources), "sources survive the way");
            assert!(sources.config().ok().as_ref() == Some(&config));
            for setting in table() {
                assert!(config.settings.value(setting.name).is_some());
            }
            for name in ["shop", "", "*"] {
                let _ = (config.database(name), config.pool(name, "alice"));
            }
        }
        Err(findings) => {
            assert!(!findings.is_empty(), "a refusal says why");
            assert!(
                findings
                    .iter()
                    .all(|finding| !finding.to_string().is_empty())
            );
        }
    }
});
