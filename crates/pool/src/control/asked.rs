//! What a console asks of the whole group.

use std::fmt;

use pgskein_protocol::key::Slot;

use super::slot;
use crate::octets::{Octets, Truncated, put_bytes};
use crate::runtime::Order;

/// What a console asks of the whole group, and waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asked {
    /// To read the configuration again.
    Reload,
    /// To give a setting another value.
    Set {
        /// The setting.
        name: String,
        /// Its value, as it would be written in the file.
        value: String,
    },
    /// To carry out an order.
    Order(Order),
    /// To replace the supervisor and every worker by the program that is
    /// installed now.
    Restart,
    /// To move a client to another worker.
    Move {
        /// Its number in the group's one sequence.
        client: u64,
        /// The slot of that worker.
        to: Slot,
    },
    /// To move clients until every worker has as many.
    Balance,
}

impl Asked {
    /// Appends it to `out`: a byte for its kind, then its argument.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Reload => out.push(RELOAD),
            Self::Set { name, value } => {
                out.push(SET);
                put_bytes(out, name.as_bytes());
                put_bytes(out, value.as_bytes());
            }
            Self::Order(order) => {
                out.push(ORDER);
                order.encode(out);
            }
            Self::Restart => out.push(RESTART),
            Self::Move { client, to } => {
                out.push(MOVE);
                out.extend_from_slice(&client.to_be_bytes());
                out.push(to.get());
            }
            Self::Balance => out.push(BALANCE),
        }
    }

    /// Takes it from the start of `octets`.
    pub(crate) fn take(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(match octets.u8()? {
            RELOAD => Self::Reload,
            SET => Self::Set {
                name: octets.text()?,
                value: octets.text()?,
            },
            ORDER => Self::Order(Order::take(octets)?),
            RESTART => Self::Restart,
            MOVE => Self::Move {
                client: octets.u64()?,
                to: slot(octets)?,
            },
            BALANCE => Self::Balance,
            _ => return Err(Truncated),
        })
    }
}

impl fmt::Display for Asked {
    /// As it is written in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reload => f.write_str("RELOAD"),
            Self::Set { name, value } => {
                write!(f, "SET {name}={}", pgskein_config::shown_value(name, value))
            }
            Self::Order(order) => order.fmt(f),
            Self::Restart => f.write_str("RESTART"),
            Self::Move { client, to } => write!(f, "MOVE CLIENT {client} TO {to}"),
            Self::Balance => f.write_str("BALANCE"),
        }
    }
}

const RELOAD: u8 = 1;
const SET: u8 = 2;
const ORDER: u8 = 3;
const RESTART: u8 = 4;
const MOVE: u8 = 5;
const BALANCE: u8 = 6;
