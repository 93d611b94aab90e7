//! Parameters: what each client believes its server's settings to be.
//!
//! Servers report some settings with ParameterStatus. A client keeps what was
//! reported while it was linked; before its next message the server it is given
//! is brought to the same values. Sets of values are interned, so that a
//! comparison is one of two numbers and an idle client keeps no copy.
//!
//! Source: PostgreSQL documentation, "Asynchronous Operations".

use std::collections::HashMap;

use pgskein_config::is_read_only_parameter;

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
    /// Follows all that PostgreSQL reports and lets sessions change, and
    /// `extra`, of which those that no session can change are left out.
    pub fn new(extra: &[String]) -> Self {
        let mut names: Vec<String> = ALWAYS.iter().map(|name| (*name).to_owned()).collect();
        for name in extra {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name))
                && !is_read_only_parameter(name)
            {
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

    /// Number of sets in use.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no set is in use; the empty one always is.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Bytes that all sets take, twice over: they are found by number and by
    /// value.
    pub fn bytes(&self) -> usize {
        let set = |values: &Values| {
            let bytes = values.iter().flatten().map(|value| value.len());
            size_of_val(&**values) + bytes.sum::<usize>()
        };
        2 * self.numbers.keys().map(set).sum::<usize>()
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

    /// The set with these values; names that are not followed are left out.
    pub fn of_values<'a>(
        &mut self,
        values: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> ParametersId {
        let mut set: Values = vec![None; self.names.len()].into();
        for (name, value) in values {
            let position = self.position(name);
            if let Some(place) = position.and_then(|position| set.get_mut(position)) {
                *place = Some(value.into());
            }
        }
        self.intern(set)
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

    /// What both believe once the queries of [`Parameters::difference`] have
    /// succeeded; `client` and `server` are given up for it.
    ///
    /// The server's spelling of the values is the one that counts. Beyond
    /// ASCII it may still be in the encoding of an earlier client, because
    /// values that do not change are not reported again.
    #[must_use]
    pub fn agree(
        &mut self,
        client: ParametersId,
        server: ParametersId,
    ) -> (ParametersId, ParametersId) {
        let values = |id: ParametersId| self.sets.get(id.0 as usize).map(|entry| &entry.values);
        let (Some(wanted), Some(reported)) = (values(client), values(server)) else {
            return (client, server);
        };
        let agreed: Values = wanted
            .iter()
            .zip(reported)
            .map(|(wanted, reported)| match (wanted, reported) {
                (Some(wanted), Some(reported)) if !reported.is_ascii() => Some(wanted.clone()),
                _ => reported.clone(),
            })
            .collect();
        let agreed = self.intern(agreed);
        self.release(client);
        self.release(server);
        (self.keep(agreed), agreed)
    }

    /// The queries that bring a server from `server` to `client`; none when
    /// they agree in everything that the client knows.
    ///
    /// Each is a transaction that stays open, and failed, when a value is
    /// refused: then nothing that follows runs under wrong settings.
    pub fn difference(&self, client: ParametersId, server: ParametersId) -> Vec<Vec<u8>> {
        let (Some(client), Some(server)) = (
            self.sets.get(client.0 as usize),
            self.sets.get(server.0 as usize),
        ) else {
            return Vec::new();
        };
        let (mut encoding, mut others) = (Vec::new(), Vec::new());
        let pairs = client.values.iter().zip(&server.values);
        for (position, (name, (wanted, present))) in self.names.iter().zip(pairs).enumerate() {
            let Some(wanted) = wanted.as_deref() else {
                continue;
            };
            if Some(wanted) != present.as_deref() {
                let first = position == ENCODING;
                push_set(
                    if first { &mut encoding } else { &mut others },
                    name,
                    wanted,
                );
            }
        }
        if others.is_ascii() {
            encoding.append(&mut others);
        }
        // Beyond ASCII the values are in the client's encoding, which must be
        // in force when the query with them is read.
        [encoding, others]
            .into_iter()
            .filter(|sql| !sql.is_empty())
            .map(|sql| [b"BEGIN;", &*sql, b"COMMIT"].concat())
            .collect()
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

/// Appends the statement that sets one parameter.
fn push_set(sql: &mut Vec<u8>, name: &str, value: &[u8]) {
    let list = LISTS.iter().any(|list| name.eq_ignore_ascii_case(list));
    sql.extend_from_slice(if list {
        b"SELECT pg_catalog.set_config('"
    } else {
        b"SET "
    });
    sql.extend_from_slice(name.as_bytes());
    sql.extend_from_slice(if list { b"'," } else { b"=" });
    push_literal(sql, value);
    sql.extend_from_slice(if list { b",false);" } else { b";" });
}

/// Appends `value` as a string literal that means the same whatever
/// `standard_conforming_strings` is.
///
/// Source: PostgreSQL documentation, "String Constants with C-Style Escapes".
fn push_literal(sql: &mut Vec<u8>, value: &[u8]) {
    if value.contains(&b'\\') {
        sql.push(b'E');
    }
    sql.push(b'\'');
    for byte in value {
        if matches!(byte, b'\'' | b'\\') {
            sql.push(*byte);
        }
        sql.push(*byte);
    }
    sql.push(b'\'');
}

/// Where `client_encoding` is in [`ALWAYS`].
const ENCODING: usize = 0;

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

/// What PostgreSQL reports and a session can change, as of PostgreSQL 18;
/// earlier versions do not report all of it.
///
/// Source: PostgreSQL documentation, "Asynchronous Operations".
const ALWAYS: [&str; 10] = [
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
    "IntervalStyle",
    "default_transaction_read_only",
    "scram_iterations",
    "search_path",
    "session_authorization",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The queries for a client that knows these values, on a server that
    /// knows none.
    fn queries(extra: &[&str], values: &[(&str, &[u8])]) -> Vec<String> {
        let extra: Vec<String> = extra.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = Parameters::new(&extra);
        let server = parameters.empty();
        let mut client = parameters.empty();
        for (name, value) in values {
            let position = parameters.position(name.as_bytes()).unwrap();
            client = parameters.with(client, position, value);
        }
        assert!(parameters.difference(server, client).is_empty());
        let queries = parameters.difference(client, server).into_iter();
        queries
            .map(|sql| String::from_utf8_lossy(&sql).into_owned())
            .collect()
    }

    #[test]
    fn gives_equal_sets_equal_numbers() {
        let mut parameters = Parameters::new(&[]);
        let empty = parameters.empty();
        let one = parameters.with(empty, 1, b"ISO");
        let empty = parameters.empty();
        let other = parameters.with(empty, 1, b"ISO");
        assert_eq!(one, other);
        assert!(parameters.difference(one, other).is_empty());
    }

    #[test]
    fn writes_what_differs_as_one_transaction_and_quotes_it() {
        assert_eq!(
            queries(
                &["Extra"],
                &[
                    ("application_name", br"it's \ here"),
                    ("extra", b"1"),
                    ("CLIENT_ENCODING", b"UTF8"),
                ]
            ),
            [
                r"BEGIN;SET client_encoding='UTF8';SET application_name=E'it''s \\ here';SET Extra='1';COMMIT"
            ]
        );
    }

    #[test]
    fn writes_a_list_of_names_as_it_was_reported() {
        assert_eq!(
            queries(&[], &[("search_path", br#"a, "B c""#)]),
            [r#"BEGIN;SELECT pg_catalog.set_config('search_path','a, "B c"',false);COMMIT"#]
        );
    }

    #[test]
    fn writes_the_encoding_first_where_it_matters() {
        let latin = queries(
            &[],
            &[
                ("search_path", b"gr\xf6\xdfe"),
                ("client_encoding", b"LATIN1"),
            ],
        );
        assert_eq!(latin.len(), 2);
        assert_eq!(latin[0], "BEGIN;SET client_encoding='LATIN1';COMMIT");
    }

    #[test]
    fn takes_the_spelling_of_the_server_unless_its_encoding_is_in_doubt() {
        let mut parameters = Parameters::new(&[]);
        let (mut client, mut server) = (parameters.empty(), parameters.empty());
        for (position, wanted, reported) in [
            (1, &b"German"[..], &b"German, DMY"[..]),
            (8, "größe".as_bytes(), b"gr\xf6\xdfe"),
        ] {
            client = parameters.with(client, position, wanted);
            server = parameters.with(server, position, reported);
        }
        let (client, server) = parameters.agree(client, server);
        assert_eq!(client, server);
        let values: Vec<_> = parameters.values(client).collect();
        assert_eq!(
            values,
            [
                ("DateStyle", &b"German, DMY"[..]),
                ("search_path", "größe".as_bytes())
            ]
        );
    }

    #[test]
    fn keeps_bytes_of_any_encoding() {
        let mut parameters = Parameters::new(&[]);
        let (server, client) = (parameters.empty(), parameters.empty());
        let position = parameters.position(b"search_path").unwrap();
        let client = parameters.with(client, position, b"\xff\xfe");
        let queries = parameters.difference(client, server);
        assert!(queries[0].windows(2).any(|bytes| bytes == b"\xff\xfe"));
    }

    #[test]
    fn writes_values_of_any_length() {
        let long = "x".repeat(100_000);
        let queries = queries(&[], &[("TimeZone", long.as_bytes())]);
        assert!(queries[0].contains(&long));
    }

    #[test]
    fn keeps_what_no_session_can_change_out() {
        let extra = [
            "is_superuser",
            "In_Hot_Standby",
            "server_version",
            "DateStyle",
        ];
        let parameters = Parameters::new(&extra.map(str::to_owned));
        assert_eq!(parameters.names, ALWAYS);
        assert_eq!(parameters.position(b"in_hot_standby"), None);
    }

    #[test]
    fn makes_the_same_set_of_the_same_values() {
        let mut parameters = Parameters::new(&[]);
        let empty = parameters.empty();
        let set = parameters.with(empty, 1, b"ISO");
        let names = [&b"datestyle"[..], b"of_another_build"];
        let made = parameters.of_values(names.map(|name| (name, &b"ISO"[..])));
        assert_eq!(made, set);
        parameters.release(made);
        parameters.release(set);
        assert_eq!(parameters.numbers.len(), 1);
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
