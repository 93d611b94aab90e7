//! Statement: what the words of one statement say about session state.
//!
//! It is fed with the words and symbols between two semicolons; comments and
//! the content of strings never come here. Where a statement can be read in
//! two ways it is taken for the one that changes something.
//!
//! Source: PostgreSQL documentation, "SQL Commands", and its grammar, which
//! knows more spellings than the manual.

use super::classes::Classes;

/// The position of a followed parameter, by its name in any case.
pub type Followed<'a> = &'a dyn Fn(&[u8]) -> Option<u32>;

/// A word of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    /// Its bytes; what is longer than any name is cut.
    pub(super) bytes: &'a [u8],
    /// Whether it stands between double quotes, and is no keyword.
    pub(super) quoted: bool,
}

/// How far a statement was read, and what it has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Statement {
    place: Place,
    /// What it changes, unless the words to come take it back.
    pending: Classes,
    /// What this statement and those before it change.
    found: Classes,
}

/// Which words decide next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    /// The first.
    #[default]
    Start,
    /// None, up to the end of the statement.
    Rest,
    /// Behind SET.
    Set,
    /// Behind SET SESSION.
    SetSession,
    /// Behind SET LOCAL, which could yet be the name `local.x`.
    SetLocal,
    /// Behind the name of a setting, which could go on with a dot.
    SetName,
    /// Behind PREPARE.
    Prepare,
    /// Behind PREPARE TRANSACTION, which could be a statement of this name.
    PrepareTransaction,
    /// Somewhere in DECLARE.
    Declare,
    /// Behind WITH in DECLARE.
    DeclareWith,
    /// Behind CREATE and words that say how.
    Create,
    /// Somewhere in CREATE, which may name `pg_temp`.
    CreateName,
    /// Somewhere in a CREATE of something temporary.
    Temp,
    /// Behind ON there.
    TempOn,
    /// Behind ON COMMIT there.
    TempOnCommit,
    /// Somewhere in a query.
    Query,
    /// Behind INTO in a query.
    Into,
    /// Somewhere in EXPLAIN.
    Explain,
}

/// The words that a statement still waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Awaits {
    /// None.
    None,
    /// The next INTO.
    Into,
    /// Any.
    Any,
}

impl Word<'_> {
    /// Whether it is this keyword, given in lower case.
    fn is(self, keyword: &[u8]) -> bool {
        !self.quoted && self.bytes.eq_ignore_ascii_case(keyword)
    }

    fn is_one_of(self, keywords: &[&[u8]]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Whether it is the schema of temporary objects.
    fn is_temp_schema(self) -> bool {
        let start = self.bytes.get(..TEMP_SCHEMA.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(TEMP_SCHEMA)
    }

    fn is_temp(self) -> bool {
        self.is_one_of(&[b"temp", b"temporary"])
    }
}

impl Statement {
    /// Which words up to the end of the statement may decide something.
    pub(super) fn awaits(&self) -> Awaits {
        match self.place {
            Place::Rest => Awaits::None,
            Place::Query => Awaits::Into,
            _ => Awaits::Any,
        }
    }

    /// Notes a semicolon.
    pub(super) fn end(&mut self) {
        self.found |= std::mem::take(&mut self.pending);
        self.place = Place::Start;
    }

    /// What all statements change, with this one as it is.
    pub(super) fn classes(&self) -> Classes {
        self.found | self.pending
    }

    /// Notes something that is not a word: the first byte of it.
    pub(super) fn symbol(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Start, b'(') => Place::Query,
            (Place::SetSession | Place::SetLocal | Place::SetName, b'.') => {
                self.pending = Classes::GUC;
                Place::Rest
            }
            // The name was the beginning of U&"name".
            (Place::SetName, b'&') => Place::Set,
            (Place::Into, b'&') => Place::Into,
            (Place::PrepareTransaction, b'(') => self.found(Classes::PREPARE),
            (Place::DeclareWith, _) => Place::Declare,
            (Place::TempOn | Place::TempOnCommit, _) => Place::Temp,
            (Place::Into, _) => Place::Query,
            (place @ (Place::Declare | Place::CreateName | Place::Temp), _)
            | (place @ (Place::Query | Place::Explain), _) => place,
            (Place::Create, _) => Place::CreateName,
            _ => Place::Rest,
        };
    }

    /// Notes a word.
    pub(super) fn word(&mut self, word: Word<'_>, followed: Followed<'_>) {
        self.place = match self.place {
            Place::Start => self.first(word),
            Place::Rest | Place::SetLocal | Place::SetName => Place::Rest,
            Place::Set if word.is(b"session") => Place::SetSession,
            Place::Set if word.is(b"local") => Place::SetLocal,
            Place::SetSession if word.is(b"session") => Place::SetSession,
            Place::SetSession if word.is(b"authorization") => self.found(Classes::ROLE),
            Place::SetSession if word.is(b"characteristics") => self.found(Classes::GUC),
            Place::Set | Place::SetSession => {
                self.pending = setting(word, followed);
                Place::SetName
            }
            Place::Prepare if word.is(b"transaction") => Place::PrepareTransaction,
            Place::Prepare => self.found(Classes::PREPARE),
            Place::PrepareTransaction if word.is(b"as") => self.found(Classes::PREPARE),
            Place::PrepareTransaction => Place::Rest,
            Place::DeclareWith if word.is(b"hold") => self.found(Classes::HOLD),
            Place::Declare | Place::DeclareWith if word.is(b"with") => Place::DeclareWith,
            Place::Declare | Place::DeclareWith if word.is(b"for") => Place::Rest,
            Place::Declare | Place::DeclareWith => Place::Declare,
            Place::Create if word.is_temp() => self.temporary(),
            Place::Create if word.is_one_of(&[b"or", b"replace", b"global", b"local"]) => {
                Place::Create
            }
            Place::Create | Place::CreateName if word.is_temp_schema() => self.temporary(),
            Place::Create | Place::CreateName => Place::CreateName,
            Place::TempOnCommit if word.is(b"drop") => {
                self.pending = Classes::NONE;
                Place::Rest
            }
            Place::TempOn if word.is(b"commit") => Place::TempOnCommit,
            Place::Temp | Place::TempOn | Place::TempOnCommit if word.is(b"on") => Place::TempOn,
            Place::Temp | Place::TempOn | Place::TempOnCommit => Place::Temp,
            Place::Into if word.is_temp() || word.is_temp_schema() => self.found(Classes::TEMP),
            Place::Into if word.is_one_of(&[b"local", b"global", b"table", b"u"]) => Place::Into,
            Place::Query | Place::Into | Place::Explain if word.is(b"into") => Place::Into,
            Place::Query | Place::Into => Place::Query,
            Place::Explain if word.is(b"create") => Place::Create,
            Place::Explain => Place::Explain,
        };
    }

    fn first(&mut self, word: Word<'_>) -> Place {
        if word.is(b"listen") {
            return self.found(Classes::LISTEN);
        }
        if word.is_one_of(&[b"reset", b"discard"]) {
            return self.found(Classes::BACK);
        }
        FIRST
            .iter()
            .find(|(keyword, _)| word.is(keyword))
            .map_or(Place::Rest, |(_, place)| *place)
    }

    fn found(&mut self, classes: Classes) -> Place {
        self.found |= classes;
        Place::Rest
    }

    /// Something temporary is created, if it is not gone with the transaction.
    fn temporary(&mut self) -> Place {
        self.pending = Classes::TEMP;
        Place::Temp
    }
}

/// What a SET of this name changes.
fn setting(word: Word<'_>, followed: Followed<'_>) -> Classes {
    let name: &[u8] = match word {
        _ if word.is_one_of(&[b"transaction", b"constraints"]) => return Classes::NONE,
        _ if word.is(b"time") => b"TimeZone",
        _ if word.is(b"names") => b"client_encoding",
        _ if word.is(b"schema") => b"search_path",
        Word { bytes, .. } => bytes,
    };
    if name.eq_ignore_ascii_case(b"role") || name.eq_ignore_ascii_case(b"session_authorization") {
        return Classes::ROLE;
    }
    followed(name).map_or(Classes::GUC, Classes::followed)
}

/// First words behind which something is to be looked for.
const FIRST: [(&[u8], Place); 7] = [
    (b"select", Place::Query),
    (b"set", Place::Set),
    (b"with", Place::Query),
    (b"create", Place::Create),
    (b"declare", Place::Declare),
    (b"prepare", Place::Prepare),
    (b"explain", Place::Explain),
];

/// What the schema of temporary objects begins with; the real ones go on with
/// a number.
const TEMP_SCHEMA: &[u8] = b"pg_temp";
