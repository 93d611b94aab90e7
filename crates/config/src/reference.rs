//! The documents that come from the table: the sample file and the reference.

use std::fmt::Write;

use crate::keys::{self, Key};
use crate::settings::{SettingInfo, Status, When};
use crate::table::table;

/// The sample file: every setting with its text, commented out at its default.
pub fn sample_ini() -> String {
    let mut out = SAMPLE_HEAD.to_owned();
    let mut group = "";
    for setting in table() {
        if matches!(setting.status, Status::Obsolete(_)) {
            continue;
        }
        if setting.group != group {
            group = setting.group;
            line(&mut out, format_args!("\n;;;\n;;; {group}\n;;;"));
        }
        line(&mut out, format_args!(""));
        for text in wrap(setting.text, SAMPLE_WIDTH) {
            line(&mut out, format_args!(";; {text}"));
        }
        if let Some(note) = note(setting) {
            line(&mut out, format_args!(";; {note}"));
        }
        let row = format!(";{} = {}", setting.name, setting.default);
        line(&mut out, format_args!("{}", row.trim_end()));
    }
    out
}

/// The reference of all settings, in Markdown.
pub fn reference_markdown() -> String {
    let mut out = REFERENCE_HEAD.to_owned();
    let mut group = "";
    for setting in table() {
        if setting.group != group {
            group = setting.group;
            line(&mut out, format_args!("\n### {group}"));
        }
        line(&mut out, format_args!("\n#### `{}`\n", setting.name));
        for text in wrap(setting.text, REFERENCE_WIDTH) {
            line(&mut out, format_args!("{text}"));
        }
        line(&mut out, format_args!("\n{}", facts(setting)));
    }
    for (section, about, keys) in SECTIONS {
        line(&mut out, format_args!("\n## `[{section}]`\n\n{about}\n"));
        line(&mut out, format_args!("| key | meaning |\n|---|---|"));
        for key in keys {
            line(&mut out, format_args!("| `{}` | {} |", key.name, key.text));
        }
    }
    out
}

/// Kind, default and effect of a setting in one paragraph.
fn facts(setting: &SettingInfo) -> String {
    let expected = setting.expected;
    let default = match setting.default {
        "" => "empty".to_owned(),
        default => format!("`{default}`"),
    };
    let effect = match setting.takes_effect {
        When::Now => "A reload changes it.",
        When::Restart => "RESTART changes it.",
        When::Start => "It takes effect at the start only.",
    };
    let mut facts = format!("*Value: {expected}. Default: {default}. {effect}*");
    if let Some(note) = note(setting) {
        facts.push_str("\n\n");
        facts.push_str(&note);
    }
    facts
}

/// What of a setting is not built, if something is not.
fn note(setting: &SettingInfo) -> Option<String> {
    match setting.status {
        Status::Supported => None,
        Status::OnlyDefault => Some("Not built yet: only the default is accepted.".to_owned()),
        Status::Obsolete(reason) => Some(format!(
            "Accepted with a warning, and without effect: {reason}."
        )),
    }
}

/// Splits `text` at blanks into lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

const SAMPLE_WIDTH: usize = 76;
const REFERENCE_WIDTH: usize = 80;

const SAMPLE_HEAD: &str = "\
;;; Sample configuration of pgskein, with every setting at its default.
;;; It is generated: change crates/config/src/table.rs instead.
;;;
;;; A line is `name = value`. `;` and `#` begin a comment, at the start of a
;;; line only. `%include FILE` reads another file in this place. Of repeated
;;; values the last one counts.

[databases]

;; name = key=value ..., with single quotes around values with blanks.
;shop = host=10.0.0.9 port=5432 dbname=shop
;reports = host=/run/postgresql pool_size=5 connect_query='set work_mem = ''1GB'''

;; Serves every name that has no entry.
;* = host=10.0.0.9

[users]

;alice = pool_mode=transaction max_user_connections=10

[peers]

;; peer_id of another host = key=value ...; %d is the id less 1.
;1-3 = host=pgskein-%d.pgskein port=6432 kind=pgskein

[pgskein]
";

const REFERENCE_HEAD: &str = "\
# Settings

<!-- Generated: change crates/config/src/table.rs and run the generator. -->

The configuration is an ini file with the sections `[pgskein]` (`[pgbouncer]` is
the same section), `[databases]`, `[users]` and `[peers]`. `;` and `#` begin a
comment, at the start of a line only. `%include FILE` reads another file in its
place, relative to the working directory. Sections may be repeated; of repeated
values the last one counts.

`pgskein --check FILE` reads a configuration with every file that it uses, and says
`FILE:LINE: setting: what is wrong`. What is only worth a word is `warning: …`, and the
exit code is 0 if there is nothing else.

## `[pgskein]`
";

/// Sections of entries, what an entry is, and its keys.
const SECTIONS: [(&str, &str, &[Key]); 3] = [
    (
        "databases",
        "\
Each line is `name = key=value …`: the name that clients ask for, and where it
leads. `*` serves all names without a line of their own; `pgskein` and
`pgbouncer` are the console. Names of other characters than letters, digits and
`_.-` are written in double quotes. Values with blanks are written in single
quotes, which are doubled inside of them.",
        keys::DATABASE,
    ),
    (
        "users",
        "Each line is `name = key=value …`: what holds for this user on every database.",
        keys::USER,
    ),
    (
        "peers",
        "\
Each line is `id = key=value …`: the `peer_id` of another host, 1 to 16383, and
where cancel requests are sent that are meant for it: its `peer_listen` if it has
one, or any port of its clients. `1-8 = host=pgskein-%d.pgskein` stands for the
eight hosts `pgskein-0.pgskein` to `pgskein-7.pgskein`, so that the pods of a
StatefulSet, with `peer_id = hostname`, all have the same file. The line of this
host itself is ignored. Nothing here has an effect without `peer_id`.",
        keys::PEER,
    ),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::Sources;

    fn problems(text: &str) -> Vec<String> {
        let read = &mut |path: &Path| match path.to_str() {
            Some("a.ini") => Ok(text.to_owned()),
            _ => Err("no such file".to_owned()),
        };
        let findings = Sources::gather(Path::new("a.ini"), "pooler-1", read).err();
        let findings = findings.unwrap_or_default();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn writes_a_sample_that_is_accepted() {
        assert_eq!(problems(&sample_ini()), [""; 0]);
    }

    #[test]
    fn writes_a_sample_that_is_accepted_with_every_line_in_force() {
        let sample = sample_ini();
        let in_force = |line: &str| match line.strip_prefix(';') {
            Some(rest) if !rest.starts_with(';') => rest.to_owned(),
            _ => line.to_owned(),
        };
        let lines: Vec<String> = sample.lines().map(in_force).collect();
        assert_eq!(problems(&lines.join("\n")), [""; 0]);
    }

    #[test]
    fn keeps_the_generated_files_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let files = [
            ("etc/pgskein.ini", sample_ini()),
            ("doc/settings.md", reference_markdown()),
        ];
        for (name, text) in files {
            let written = fs::read_to_string(root.join(name)).unwrap_or_default();
            assert!(
                written == text,
                "{name} differs: cargo run -p pgskein-config --example generate -- ."
            );
        }
    }
}
