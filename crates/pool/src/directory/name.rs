//! Names in a directory that are made of a user's.
//!
//! Source: RFC 4514, "Lightweight Directory Access Protocol (LDAP): String
//! Representation of Distinguished Names".

/// The name of a user between these texts; `None` if it would mean something
/// else than a name there.
///
/// A prefix such as `cn=` makes it a distinguished name, where the user's can be
/// escaped. In others, such as `DOMAIN\`, there is no way to do so.
pub(super) fn of(prefix: &str, user: &str, suffix: &str) -> Option<String> {
    let mut name = prefix.to_owned();
    if prefix.contains('=') {
        for c in user.chars() {
            if is_special(c) || c.is_ascii_control() || matches!(c, ' ' | '#') {
                name.push_str(&format!("\\{:02x}", u32::from(c)));
            } else {
                name.push(c);
            }
        }
    } else {
        let mistaken = |c: char| is_special(c) || c.is_ascii_control();
        if user.contains(mistaken) || user.starts_with([' ', '#']) || user.ends_with(' ') {
            return None;
        }
        name.push_str(user);
    }
    name.push_str(suffix);
    Some(name)
}

/// Whether a character has a meaning in a distinguished name. All are ASCII.
fn is_special(c: char) -> bool {
    matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_would_end_the_value_in_a_distinguished_name() {
        let dn = |user| of("cn=", user, ",dc=x").unwrap();
        assert_eq!(dn("alice"), "cn=alice,dc=x");
        assert_eq!(
            dn("a,ou=admins+b\\\"c"),
            "cn=a\\2cou\\3dadmins\\2bb\\5c\\22c,dc=x"
        );
        assert_eq!(dn(" #é"), "cn=\\20\\23é,dc=x");
    }

    #[test]
    fn rejects_what_cannot_be_escaped_elsewhere() {
        let upn = |user| of("", user, "@example.net");
        assert_eq!(upn("alice"), Some("alice@example.net".to_owned()));
        assert_eq!(upn("a b#"), Some("a b#@example.net".to_owned()));
        let domain = of("SHOP\\", "alice", "");
        assert_eq!(domain, Some("SHOP\\alice".to_owned()));
        for user in ["cn=a,dc=x", "OTHER\\bob", " a", "a ", "#a", "a\0", "a;b"] {
            assert_eq!(upn(user), None, "{user}");
        }
    }
}
