//! How a client of the scenarios logs in.

use std::collections::BTreeMap;

use super::Session;
use crate::wire::{ErrorFields, Wire, startup_packet};

/// What a client says of itself in its StartupMessage.
#[derive(Clone, Debug)]
pub struct Login {
    version: u32,
    user: String,
    database: String,
    password: String,
    parameters: Vec<(String, String)>,
}

impl Login {
    /// User and database `postgres`, protocol 3.0, nothing else.
    pub fn new() -> Self {
        Self {
            version: 0x0003_0000,
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            password: String::new(),
            parameters: Vec::new(),
        }
    }

    /// Logs in as this user.
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Asks for this database.
    pub fn database(mut self, database: &str) -> Self {
        database.clone_into(&mut self.database);
        self
    }

    /// Password to send in the clear when asked for it.
    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    /// Asks for this minor version of protocol 3.
    pub fn minor_version(mut self, minor: u16) -> Self {
        self.version = 0x0003_0000 | u32::from(minor);
        self
    }

    /// Adds a startup parameter.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks to be told with GoAway.
    pub fn goaway(self) -> Self {
        self.parameter("_pq_.goaway", "1")
    }

    /// The StartupMessage.
    pub fn packet(&self) -> Vec<u8> {
        let mut parameters = vec![
            ("user", self.user.as_str()),
            ("database", self.database.as_str()),
        ];
        parameters.extend(
            self.parameters
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str())),
        );
        startup_packet(self.version, &parameters)
    }

    /// Logs in up to the first ReadyForQuery.
    pub(crate) fn run(&self, mut wire: Wire) -> Result<Session, ErrorFields> {
        if wire.try_send(&self.packet()).is_err() {
            return Err(ErrorFields::default());
        }
        self.finish(wire)
    }

    /// Reads the answer to a StartupMessage up to the first ReadyForQuery.
    pub(crate) fn finish(&self, wire: Wire) -> Result<Session, ErrorFields> {
        let mut session = Session {
            wire,
            process_id: 0,
            secret: Vec::new(),
            parameters: BTreeMap::new(),
            negotiated: None,
            notices: Vec::new(),
            transcript: String::new(),
            last_error: None,
            status: 0,
        };
        while let Some(message) = session.read() {
            match message.tag {
                b'R' => self.authenticate(&mut session, &message.body),
                b'K' => {
                    let (id, secret) = message.body.split_at(4);
                    session.process_id = u32::from_be_bytes(id.try_into().unwrap());
                    session.secret = secret.to_vec();
                }
                b'v' => session.negotiated = Some(negotiated(&message.body)),
                b'E' => return Err(message.error()),
                b'Z' => {
                    session.transcript.clear();
                    return Ok(session);
                }
                b'S' | b'N' => {}
                _ => panic!("{message:?} in a login"),
            }
        }
        Err(ErrorFields::default())
    }

    fn authenticate(&self, session: &mut Session, body: &[u8]) {
        match u32::from_be_bytes(body[..4].try_into().unwrap()) {
            0 => {}
            3 => session
                .wire
                .send_message(b'p', format!("{}\0", self.password).as_bytes()),
            other => panic!("authentication {other} needs psql, not this client"),
        }
    }
}

impl Default for Login {
    fn default() -> Self {
        Self::new()
    }
}

/// Version word and names of a NegotiateProtocolVersion.
fn negotiated(body: &[u8]) -> (u32, Vec<String>) {
    let version = u32::from_be_bytes(body[..4].try_into().unwrap());
    let count = u32::from_be_bytes(body[4..8].try_into().unwrap());
    let names: Vec<String> = body[8..]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(names.len(), count as usize, "as many names as announced");
    (version, names)
}
