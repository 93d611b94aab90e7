//! What a client can say.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use std::fmt;

use crate::wire::message;

/// One message of a client.
///
/// In texts, [`TABLES`] stands for the beginning of the names of tables.
#[derive(Clone, Debug)]
pub(super) enum ClientMessage {
    Query(String),
    /// A call of a function by its number, with values in text.
    FunctionCall {
        function: u32,
        values: Vec<&'static str>,
    },
    Parse {
        statement: String,
        text: String,
        types: Vec<u32>,
    },
    Bind {
        portal: String,
        statement: String,
        values: Vec<Option<String>>,
        /// Whether each column is wanted in binary; none means text.
        binary: Vec<bool>,
    },
    Describe(Named),
    Execute {
        portal: String,
        /// The most rows to send, 0 for all.
        rows: u32,
    },
    Close(Named),
    Flush,
    Sync,
    CopyData(Vec<u8>),
    CopyDone,
    CopyFail(&'static str),
}

/// A statement or a portal by its name.
#[derive(Clone, Debug)]
pub(super) enum Named {
    Statement(String),
    Portal(String),
}

impl ClientMessage {
    /// Its type.
    pub(super) fn tag(&self) -> u8 {
        match self {
            Self::Query(_) => b'Q',
            Self::FunctionCall { .. } => b'F',
            Self::Parse { .. } => b'P',
            Self::Bind { .. } => b'B',
            Self::Describe(_) => b'D',
            Self::Execute { .. } => b'E',
            Self::Close(_) => b'C',
            Self::Flush => b'H',
            Self::Sync => b'S',
            Self::CopyData(_) => b'd',
            Self::CopyDone => b'c',
            Self::CopyFail(_) => b'f',
        }
    }

    /// Its bytes, with the tables whose names begin with `tables`.
    pub(super) fn encode(&self, tables: &str) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Query(text) => string(&mut body, &text.replace(TABLES, tables)),
            Self::FunctionCall { function, values } => {
                word(&mut body, *function);
                short(&mut body, 0);
                short(&mut body, values.len());
                for text in values {
                    value(&mut body, Some(text));
                }
                short(&mut body, 0);
            }
            Self::Parse {
                statement,
                text,
                types,
            } => {
                string(&mut body, statement);
                string(&mut body, &text.replace(TABLES, tables));
                short(&mut body, types.len());
                for oid in types {
                    word(&mut body, *oid);
                }
            }
            Self::Bind {
                portal,
                statement,
                values,
                binary,
            } => {
                string(&mut body, portal);
                string(&mut body, statement);
                short(&mut body, 0);
                short(&mut body, values.len());
                for text in values {
                    value(&mut body, text.as_deref());
                }
                short(&mut body, binary.len());
                for binary in binary {
                    short(&mut body, usize::from(*binary));
                }
            }
            Self::Describe(named) | Self::Close(named) => named.write(&mut body),
            Self::Execute { portal, rows } => {
                string(&mut body, portal);
                word(&mut body, *rows);
            }
            Self::Flush | Self::Sync | Self::CopyDone => {}
            Self::CopyData(data) => body.extend_from_slice(data),
            Self::CopyFail(why) => string(&mut body, why),
        }
        message(self.tag(), &body)
    }
}

impl Named {
    fn write(&self, body: &mut Vec<u8>) {
        let (kind, name) = match self {
            Self::Statement(name) => (b'S', name),
            Self::Portal(name) => (b'P', name),
        };
        body.push(kind);
        string(body, name);
    }
}

fn string(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
    body.push(0);
}

fn short(body: &mut Vec<u8>, number: usize) {
    body.extend_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
}

fn word(body: &mut Vec<u8>, number: u32) {
    body.extend_from_slice(&number.to_be_bytes());
}

fn value(body: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            word(body, u32::try_from(text.len()).unwrap());
            body.extend_from_slice(text.as_bytes());
        }
        None => word(body, u32::MAX),
    }
}

impl fmt::Display for ClientMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(text) => write!(f, "Query {text:?}"),
            Self::FunctionCall { function, values } => {
                write!(f, "FunctionCall {function} {values:?}")
            }
            Self::Parse {
                statement,
                text,
                types,
            } => write!(f, "Parse {statement:?} = {text:?} types {types:?}"),
            Self::Bind {
                portal,
                statement,
                values,
                binary,
            } => {
                write!(f, "Bind portal {portal:?} to {statement:?} values [")?;
                for (index, text) in values.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    match text {
                        Some(text) => write!(f, "{comma}{:?}", shortened(text.as_bytes()))?,
                        None => write!(f, "{comma}null")?,
                    }
                }
                write!(f, "] binary {binary:?}")
            }
            Self::Describe(Named::Statement(name)) => write!(f, "Describe statement {name:?}"),
            Self::Describe(Named::Portal(name)) => write!(f, "Describe portal {name:?}"),
            Self::Execute { portal, rows } => write!(f, "Execute {portal:?} rows {rows}"),
            Self::Close(Named::Statement(name)) => write!(f, "Close statement {name:?}"),
            Self::Close(Named::Portal(name)) => write!(f, "Close portal {name:?}"),
            Self::Flush => f.write_str("Flush"),
            Self::Sync => f.write_str("Sync"),
            Self::CopyData(data) => {
                write!(f, "CopyData of {}: {:?}", data.len(), shortened(data))
            }
            Self::CopyDone => f.write_str("CopyDone"),
            Self::CopyFail(why) => write!(f, "CopyFail {why:?}"),
        }
    }
}

/// The beginning of what may be long.
fn shortened(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let dots = if shown.len() < bytes.len() { "…" } else { "" };
    format!("{}{dots}", shown.escape_ascii())
}

/// What stands in texts for the beginning of the names of tables.
pub(super) const TABLES: &str = "{}";
/// Bytes of a value that are shown.
const SHOWN: usize = 60;
