//! Parameters: what each client believes its server's settings to be.
//!
//! Servers report some settings with ParameterStatus. A client keeps what was
//! reported while it was linked; before its next message the server it is given
//! is brought to the same values. Sets of values are interned, so that a
//! comparison is one of two numbers and an idle client keeps no copy.
//!
//! Source: PostgreSQL documentation, "Asynchronous Operations".

use std::collections::HashMap;

/// A set of values, by number. Equal sets have equal numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ParametersId(u32);

/// The values of one set, in the order of the tracked names; `None` where no
/// server has reported one.
pub type Values = Box<[Option<Box<[u8]>>]>;

/// All sets in use by a worker, with how often each is used.
#[derive(Debug)]
pub struct Parameters {
    names: Vec<String>,
    sets: Vec<Entry>,
    numbers: HashMap<Values, u32>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Entry {
    values: Values,
    users: u32,
}

impl Parameters {
    /// Follows PgBouncer's five parameters and `extra`.
    pub fn new(extra: &[String]) -> Self {
        let mut names: Vec<String> = ALWAYS.iter().map(|name| (*name).to_owned()).collect();
        for name in extra {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        let mut parameters = Self {
            names,
            sets: Vec::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
        };
        // The empty set is number 0 and is never given back.
        parameters.intern(vec![None; parameters.names.len()].into());
        parameters
    }

    /// The set in which nothing is known.
    pub fn empty(&mut self) -> ParametersId {
        self.keep(ParametersId(0))
    }

    /// The position of `name` among the tracked ones, whatever its case.
    pub fn position(&self, name: &[u8]) -> Option<usize> {
        self.names
            .iter()
            .position(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Tracked names with the values of `id`, as far as they are known.
    pub fn values(&self, id: ParametersId) -> impl Iterator<Item = (&str, &[u8])> {
        let values = self
            .sets
            .get(id.0 as usize)
            .map_or(&[][..], |entry| &entry.values);
        self.names
            .iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }

    /// Whether the value at `position` is known in `id`.
    pub fn knows(&self, id: ParametersId, position: usize) -> bool {
        let values = self.sets.get(id.0 as usize).map(|entry| &entry.values);
        matches!(
            values.and_then(|values| values.get(position)),
            Some(Some(_))
        )
    }

    /// The tracked name at `position`.
    pub fn name(&self, position: usize) -> &str {
        self.names.get(position).map_or("", String::as_str)
    }

    /// One more user of the same set.
    pub fn keep(&mut self, id: ParametersId) -> ParametersId {
        if let Some(entry) = self.sets.get_mut(id.0 as usize) {
            entry.users += 1;
        }
        id
    }

    /// One user less.
    pub fn release(&mut self, id: ParametersId) {
        let Some(entry) = self.sets.get_mut(id.0 as usize) else {
            return;
        };
        entry.users -= 1;
        if entry.users == 0 {
            let values = std::mem::take(&mut entry.values);
            self.numbers.remove(&values);
            self.free.push(id.0);
        }
    }

    /// Gives up `id` for the set that differs from it in one value.
    ///
    /// A `position` that is not tracked changes nothing.
    #[must_use]
    pub fn with(&mut self, id: ParametersId, position: usize, value: &[u8]) -> ParametersId {
        let Some(entry) = self.sets.get(id.0 as usize) else {
            return id;
        };
        let mut values = entry.values.clone();
        match values.get_mut(position) {
            Some(place) if place.as_deref() != Some(value) => *place = Some(value.into()),
            _ => return id,
        }
        let new = self.intern(values);
        self.release(id);
        new
    }

    /// Gives up `id` for `other`.
    #[must_use]
    pub fn replace(&mut self, id: ParametersId, other: ParametersId) -> ParametersId {
        let other = self.keep(other);
        self.release(id);
        other
    }

    /// The statement that brings a server from `server` to `client`, or `None`
    /// when they agree in everything that the client knows.
    pub fn difference(&self, client: ParametersId, server: ParametersId) -> Option<String> {
        if client == server {
            return None;
        }
        let client = &self.sets.get(client.0 as usize)?.values;
        let server = &self.sets.get(server.0 as usize)?.values;
        let mut sql = String::new();
        for ((name, wanted), present) in self.names.iter().zip(client).zip(server) {
            if let Some(wanted) = wanted
                && Some(wanted) != present.as_ref()
            {
                let wanted = String::from_utf8_lossy(wanted);
                if LISTS.iter().any(|list| name.eq_ignore_ascii_case(list)) {
                    sql.push_str("SELECT pg_catalog.set_config('");
                    sql.push_str(name);
                    sql.push_str("',");
                    push_literal(&mut sql, &wanted);
                    sql.push_str(",false);");
                } else {
                    sql.push_str("SET ");
                    sql.push_str(name);
                    sql.push('=');
                    push_literal(&mut sql, &wanted);
                    sql.push(';');
                }
            }
        }
        (!sql.is_empty()).then_some(sql)
    }

    fn intern(&mut self, values: Values) -> ParametersId {
        if let Some(&number) = self.numbers.get(&values) {
            return self.keep(ParametersId(number));
        }
        let entry = Entry {
            values: values.clone(),
            users: 1,
        };
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.sets.get_mut(number as usize) {
                    *place = entry;
                }
                number
            }
            None => {
                self.sets.push(entry);
                u32::try_from(self.sets.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(values, number);
        ParametersId(number)
    }
}

/// Appends `value` as a string literal that means the same whatever
/// `standard_conforming_strings` is.
///
/// Source: PostgreSQL documentation, "String Constants with C-Style Escapes".
fn push_literal(sql: &mut String, value: &str) {
    if value.contains('\\') {
        sql.push('E');
    }
    sql.push('\'');
    for character in value.chars() {
        if matches!(character, '\'' | '\\') {
            sql.push(character);
        }
        sql.push(character);
    }
    sql.push('\'');
}

/// Settings whose value is a list of quoted names: SET would take the whole
/// list for one name.
const LISTS: [&str; 6] = [
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
];

/// What PgBouncer follows by default.
const ALWAYS: [&str; 5] = [
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_equal_sets_equal_numbers() {
        let mut parameters = Parameters::new(&[]);
        let empty = parameters.empty();
        let one = parameters.with(empty, 1, b"ISO");
        let empty = parameters.empty();
        let other = parameters.with(empty, 1, b"ISO");
        assert_eq!(one, other);
        assert_eq!(parameters.difference(one, other), None);
    }

    #[test]
    fn writes_what_differs_and_quotes_it() {
        let mut parameters = Parameters::new(&["IntervalStyle".to_owned()]);
        let server = parameters.empty();
        let client = parameters.empty();
        let client = parameters.with(client, 4, br"it's \ here");
        let position = parameters.position(b"intervalstyle").unwrap();
        let client = parameters.with(client, position, b"iso_8601");
        assert_eq!(
            parameters.difference(client, server).unwrap(),
            r"SET application_name=E'it''s \\ here';SET IntervalStyle='iso_8601';"
        );
        assert_eq!(parameters.difference(server, client), None);
    }

    #[test]
    fn writes_a_list_of_names_as_it_was_reported() {
        let mut parameters = Parameters::new(&["search_path".to_owned()]);
        let server = parameters.empty();
        let client = parameters.empty();
        let client = parameters.with(client, 5, br#"a, "B c""#);
        assert_eq!(
            parameters.difference(client, server).unwrap(),
            r#"SELECT pg_catalog.set_config('search_path','a, "B c"',false);"#
        );
    }

    #[test]
    fn forgets_a_set_that_nobody_uses() {
        let mut parameters = Parameters::new(&[]);
        for round in 0..100_u32 {
            let empty = parameters.empty();
            let set = parameters.with(empty, 0, &round.to_be_bytes());
            parameters.release(set);
        }
        assert_eq!(parameters.sets.len(), 2);
        assert_eq!(parameters.numbers.len(), 1);
    }
}
