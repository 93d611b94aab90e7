//! The ident map: which users of the database a name may be that was proved.
//!
//! It is the name that the system has for a client (`peer`), or the common name of
//! its certificate (`cert`).
//!
//! Source: PostgreSQL documentation, "User Name Maps".

use std::path::Path;

use super::Users;
use super::name::Name;
use super::tokens::{Line, read_each};
use super::{next, one};
use crate::finding::{Finding, Place};
use crate::ini::Fetch;

/// The lines of an ident map file, of all its maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IdentMap {
    lines: Vec<Mapping>,
}

#[derive(Clone, Debug, PartialEq)]
struct Mapping {
    map: String,
    system: Name,
    user: Target,
}

/// Whom a proved name may be.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    Users(Users),
    /// The user between these texts with what the group in the expression has
    /// matched.
    Around(String, String),
}

impl IdentMap {
    /// Reads the file that the setting at `place` names.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it and with the files that it names.
    pub(crate) fn read(
        file: &Path,
        place: &Place,
        fetch: &mut Fetch<'_>,
    ) -> Result<Self, Vec<Finding>> {
        let lines = read_each(file, place, "auth_ident_file", fetch, mapping)?;
        Ok(Self { lines })
    }

    /// Whether who is `system`, for the system or by its certificate, may be `user`;
    /// without a map, if these names are the same.
    pub fn admits(&self, map: Option<&str>, system: &str, user: &str) -> bool {
        let Some(map) = map else {
            return system == user;
        };
        let lines = self.lines.iter();
        let mut lines = lines.filter(|line| line.map == map);
        lines.any(|line| line.admits(system, user))
    }

    /// Whether there is a map of this name.
    pub(crate) fn has(&self, map: &str) -> bool {
        self.lines.iter().any(|line| line.map == map)
    }
}

impl Mapping {
    fn admits(&self, system: &str, user: &str) -> bool {
        match &self.user {
            Target::Users(users) => self.system.matches(system) && users.fit(user),
            Target::Around(before, behind) => {
                let Name::Like(pattern) = &self.system else {
                    return false;
                };
                let captures = pattern.0.captures(system);
                let group = captures.as_ref().and_then(|captures| captures.get(1));
                group.is_some_and(|group| {
                    user.strip_prefix(before.as_str())
                        .and_then(|user| user.strip_suffix(behind.as_str()))
                        == Some(group.as_str())
                })
            }
        }
    }
}

fn mapping(line: &Line) -> Result<Mapping, String> {
    let mut fields = line.fields.as_slice();
    let map = one(next(&mut fields, "map")?, "map")?;
    let system = one(
        next(&mut fields, "name of the system")?,
        "name of the system",
    )?;
    let user = one(next(&mut fields, "user")?, "user")?;
    if !fields.is_empty() {
        return Err("only a map, a name of the system and a user are expected".to_owned());
    }
    let system = Name::parse(system)?;
    let target = match (&system, Users::parse(user)?) {
        (Name::Like(pattern), Users::Named(Name::Exactly(name))) => match name.split_once("\\1") {
            Some(_) if pattern.0.captures_len() < 2 => {
                return Err(format!("{name}: the expression has no group for \\1"));
            }
            Some((before, behind)) => Target::Around(before.to_owned(), behind.to_owned()),
            None => Target::Users(Users::Named(Name::Exactly(name))),
        },
        (_, users) => Target::Users(users),
    };
    Ok(Mapping {
        map: map.text.clone(),
        system,
        user: target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<IdentMap, Vec<String>> {
        let place = Place::default();
        let map = IdentMap::read(Path::new("ident"), &place, &mut |_| Ok(text.to_owned()));
        map.map_err(|findings| findings.iter().map(Finding::to_string).collect())
    }

    #[test]
    fn without_a_map_admits_the_same_name_only() {
        let map = read("m root alice\n").unwrap();
        assert!(map.admits(None, "root", "root"));
        assert!(!map.admits(None, "root", "alice"));
    }

    #[test]
    fn admits_whom_a_line_of_the_map_names() {
        let map = read("m root alice\nm root bob\nn www \"all\"\no www all\n").unwrap();
        for (name, system, user, admitted) in [
            ("m", "root", "alice", true),
            ("m", "root", "bob", true),
            ("m", "root", "root", false),
            ("m", "www", "alice", false),
            ("n", "www", "alice", false),
            ("n", "www", "all", true),
            ("o", "www", "alice", true),
            ("gone", "root", "alice", false),
        ] {
            let admits = map.admits(Some(name), system, user);
            assert_eq!(admits, admitted, "{name} {system} {user}");
        }
        assert!(map.has("n") && !map.has("gone"));
    }

    #[test]
    fn puts_in_what_the_group_has_matched() {
        let map = read("m /^(.*)@example\\.com$ db_\\1_x\nm /^guest guest\n").unwrap();
        let admits = |system, user| map.admits(Some("m"), system, user);
        assert!(admits("alice@example.com", "db_alice_x"));
        assert!(!admits("alice@example.com", "alice"));
        assert!(!admits("alice@exampleXcom", "db_alice_x"));
        assert!(admits("guest7", "guest"));
        // What was matched is a name, whatever it looks like.
        assert!(!read("m /(.*) \\1\n").unwrap().admits(Some("m"), "all", "x"));
        assert!(!read("m /(.*) \\1\n").unwrap().admits(Some("m"), "/x", "x"));
    }

    #[test]
    fn matches_users_by_expressions() {
        let map = read("m www /^app_\n").unwrap();
        assert!(map.admits(Some("m"), "www", "app_1"));
        assert!(!map.admits(Some("m"), "www", "my_app_1"));
    }

    #[test]
    fn rejects_what_cannot_be_kept() {
        for (text, expected) in [
            ("m root", "ident:1: the line ends before its user"),
            (
                "m root a b",
                "ident:1: only a map, a name of the system and a user are expected",
            ),
            (
                "m a,b c",
                "ident:1: one name of the system is expected, not a list",
            ),
            (
                "m root +staff",
                "ident:1: +staff: membership in roles is known to PostgreSQL only, and not supported",
            ),
            (
                "m /abc x\\1",
                "ident:1: x\\1: the expression has no group for \\1",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), [expected], "{text}");
        }
        let problem = read("\nm /( x").unwrap_err().remove(0);
        assert!(
            problem.starts_with("ident:2: bad regular expression /(: "),
            "{problem}"
        );
    }
}
