//! Names of hosts in the HBA file, and what is known of the name of a client's.
//!
//! Source: PostgreSQL documentation, "The pg_hba.conf File".

/// What is known of the name of the host that a client comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HostName<'a> {
    /// It was not looked up.
    Unknown,
    /// It has none, or the one it has does not lead back to its address.
    Nameless,
    /// It has this name, which leads back to its address.
    Named(&'a str),
}

/// One host, or all whose names have an end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum HostPattern {
    /// The host of this name.
    Exactly(String),
    /// Those whose names end with this, which begins with a dot.
    Below(String),
}

impl HostPattern {
    /// Reads a name, or an end with its dot; nothing else has this form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, below) = match text.strip_prefix('.') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_label = |label: &str| !label.is_empty() && label.chars().all(known);
        // What has digits only at its end is an address that is written wrongly.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_name = name.split('.').all(is_label) && last.contains(|c: char| !c.is_ascii_digit());
        is_name.then(|| match below {
            true => Self::Below(text.to_owned()),
            false => Self::Exactly(text.to_owned()),
        })
    }

    /// Whether a host of this name is meant; upper and lower case are the same.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(exactly) => exactly.eq_ignore_ascii_case(name),
            Self::Below(end) => {
                let split = name.len().checked_sub(end.len()).filter(|at| *at > 0);
                let tail = split.and_then(|at| name.get(at..));
                tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        HostPattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn matches_a_name_whatever_its_case() {
        assert!(matches("db.example.com", "DB.Example.com"));
        assert!(matches("localhost", "localhost"));
        assert!(!matches("db.example.com", "db.example.com.evil.org"));
        assert!(!matches("db.example.com", "xdb.example.com"));
    }

    #[test]
    fn matches_the_ends_of_names_but_not_the_end_itself() {
        assert!(matches(".example.com", "foo.EXAMPLE.com"));
        assert!(matches(".example.com", "a.b.example.com"));
        for name in [
            "example.com",
            ".example.com",
            "fooexample.com",
            "com",
            "",
            "ä.example.org",
        ] {
            assert!(!matches(".example.com", name), "{name}");
        }
    }

    #[test]
    fn rejects_what_is_no_name() {
        for text in [
            "",
            ".",
            "..example.com",
            "a..b",
            "example.com.",
            "*.example.com",
            "10.0.0",
            "300.1.2.3",
            "fe80::1::2",
            "a/8",
            "a b",
            "/^db",
            "bücher.example",
        ] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }
}
