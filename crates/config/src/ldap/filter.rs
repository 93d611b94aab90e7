//! Filters of searches, with a place for the name of the user.
//!
//! Source: RFC 4515, "Lightweight Directory Access Protocol (LDAP): String
//! Representation of Search Filters".

use super::hexadecimal;

/// What entries a search is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LdapFilter {
    /// Those that all of these fit.
    And(Vec<LdapFilter>),
    /// Those that one of these fits.
    Or(Vec<LdapFilter>),
    /// Those that this does not fit.
    Not(Box<LdapFilter>),
    /// Those whose attribute has this value.
    Equal(String, LdapValue),
    /// Those whose attribute is like this value.
    Approximately(String, LdapValue),
    /// Those whose attribute has this value or one behind it.
    AtLeast(String, LdapValue),
    /// Those whose attribute has this value or one before it.
    AtMost(String, LdapValue),
    /// Those that have this attribute.
    Present(String),
    /// Those whose attribute has these parts in this order.
    Substrings {
        /// The attribute.
        attribute: String,
        /// What it begins with.
        initial: Option<LdapValue>,
        /// What is in it.
        any: Vec<LdapValue>,
        /// What it ends with.
        last: Option<LdapValue>,
    },
    /// Those that a rule of the directory says fit.
    Extensible {
        /// The attribute; empty for any.
        attribute: String,
        /// The rule; empty for that of the attribute.
        rule: String,
        /// The value.
        value: LdapValue,
        /// Whether the attributes in an entry's name count as well.
        of_name: bool,
    },
}

/// A value in a filter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LdapValue(Vec<LdapPiece>);

/// A piece of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
enum LdapPiece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The name of the user.
    User,
}

impl LdapFilter {
    /// Reads a filter; the parentheses around all of it may be missing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let filter = if text.starts_with('(') {
            filter(&mut rest, 0)?
        } else {
            rest = "";
            item(text)?
        };
        if rest.is_empty() {
            Ok(filter)
        } else {
            Err("something is behind its last parenthesis".to_owned())
        }
    }

    /// Searches for the entries where `attribute` is the name of the user.
    pub(super) fn user(attribute: &str) -> Result<Self, String> {
        let value = LdapValue(vec![LdapPiece::User]);
        Ok(Self::Equal(described(attribute)?, value))
    }
}

impl LdapValue {
    /// The bytes that it comes to for this user.
    pub fn of(&self, user: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.0 {
            bytes.extend_from_slice(match piece {
                LdapPiece::Bytes(bytes) => bytes,
                LdapPiece::User => user.as_bytes(),
            });
        }
        bytes
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        for (at, part) in text.split(USER).enumerate() {
            if at > 0 {
                pieces.push(LdapPiece::User);
            }
            if !part.is_empty() {
                pieces.push(LdapPiece::Bytes(unescaped(part)?));
            }
        }
        Ok(Self(pieces))
    }
}

/// Takes a filter in parentheses off.
fn filter(rest: &mut &str, depth: usize) -> Result<LdapFilter, String> {
    if depth > DEEPEST {
        return Err("it is nested too deeply".to_owned());
    }
    let inside = rest.strip_prefix('(').ok_or("a parenthesis is missing")?;
    *rest = inside;
    let filter = match inside.chars().next() {
        Some('&') => LdapFilter::And(list(rest, depth)?),
        Some('|') => LdapFilter::Or(list(rest, depth)?),
        Some('!') => {
            *rest = rest.get(1..).unwrap_or_default();
            LdapFilter::Not(Box::new(filter(rest, depth + 1)?))
        }
        _ => {
            let end = inside.find(['(', ')']).unwrap_or(inside.len());
            let (text, behind) = inside.split_at(end);
            *rest = behind;
            item(text)?
        }
    };
    *rest = rest
        .strip_prefix(')')
        .ok_or("a parenthesis does not end, or is not escaped as \\28 or \\29")?;
    Ok(filter)
}

fn list(rest: &mut &str, depth: usize) -> Result<Vec<LdapFilter>, String> {
    *rest = rest.get(1..).unwrap_or_default();
    let mut filters = Vec::new();
    while rest.starts_with('(') {
        filters.push(filter(rest, depth + 1)?);
    }
    if filters.is_empty() {
        return Err("a list of it is empty".to_owned());
    }
    Ok(filters)
}

/// Reads what is between the innermost parentheses.
fn item(text: &str) -> Result<LdapFilter, String> {
    let (left, value) = text.split_once('=').ok_or("an equals sign is missing")?;
    if let Some(left) = left.strip_suffix(':') {
        return extensible(left, value);
    }
    for (sign, of) in [
        (
            '~',
            LdapFilter::Approximately as fn(String, LdapValue) -> LdapFilter,
        ),
        ('>', LdapFilter::AtLeast),
        ('<', LdapFilter::AtMost),
    ] {
        if let Some(left) = left.strip_suffix(sign) {
            return Ok(of(described(left)?, whole(value)?));
        }
    }
    let attribute = described(left)?;
    if value == "*" {
        return Ok(LdapFilter::Present(attribute));
    }
    let Some((initial, others)) = value.split_once('*') else {
        return Ok(LdapFilter::Equal(attribute, whole(value)?));
    };
    let (any, last) = others.rsplit_once('*').unwrap_or(("", others));
    let part = |text: &str| match text {
        "" => Ok(None),
        text => LdapValue::parse(text).map(Some),
    };
    let any = any.split('*').filter_map(|text| part(text).transpose());
    Ok(LdapFilter::Substrings {
        attribute,
        initial: part(initial)?,
        any: any.collect::<Result<_, _>>()?,
        last: part(last)?,
    })
}

/// Reads what is before the sign `:=`, and the value.
fn extensible(left: &str, value: &str) -> Result<LdapFilter, String> {
    let mut parts = left.split(':');
    let attribute = match parts.next().unwrap_or_default() {
        "" => String::new(),
        attribute => described(attribute)?,
    };
    let (mut of_name, mut rule) = (false, String::new());
    for part in parts {
        if part.eq_ignore_ascii_case("dn") && !of_name && rule.is_empty() {
            of_name = true;
        } else if rule.is_empty() {
            rule = described(part)?;
        } else {
            return Err("a rule is named twice".to_owned());
        }
    }
    if attribute.is_empty() && rule.is_empty() {
        return Err("neither an attribute nor a rule is named".to_owned());
    }
    Ok(LdapFilter::Extensible {
        attribute,
        rule,
        value: whole(value)?,
        of_name,
    })
}

/// A value without parts.
fn whole(value: &str) -> Result<LdapValue, String> {
    if value.contains('*') {
        return Err("an asterisk is not escaped as \\2a".to_owned());
    }
    LdapValue::parse(value)
}

/// The description of an attribute.
fn described(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ';' | '.');
    if text.is_empty() || !text.chars().all(fits) {
        return Err("the name of an attribute is none".to_owned());
    }
    Ok(text.to_owned())
}

/// The bytes of a text where `\` and two digits stand for one.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(hexadecimal(behind).ok_or("a backslash is not escaped as \\5c")?);
        rest = behind.get(2..).unwrap_or_default();
    }
    Ok(bytes)
}

/// Stands for the name of the user.
const USER: &str = "$username";

/// How deep filters are nested at most.
const DEEPEST: usize = 50;
