//! What supervisor and workers tell each other about moves, as frames.

use pgskein_protocol::key::Slot;

use super::{Place, Stay};
use crate::control::{put_frame, slot};
use crate::octets::{Octets, Truncated};

/// What a worker is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToWorker {
    /// Where the clients of this worker go when it leaves.
    Succession(Succession),
    /// Move this client.
    Client {
        /// Number that the answers carry.
        number: u64,
        /// The client, by the group's one sequence.
        client: u64,
        /// Where to.
        to: Place,
    },
    /// Give so many clients to each of these.
    Give {
        /// Number that the answer carries.
        number: u64,
        /// Whom, and how many.
        gifts: Vec<(Place, u32)>,
    },
}

/// Where the clients of a worker go that leaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Succession {
    /// Nowhere: they are asked to go.
    #[default]
    Nobody,
    /// It will be said; nobody is asked to go until then.
    Expected,
    /// To this worker.
    To(Place),
}

/// What a worker says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FromWorker {
    /// What has come of a request.
    Answer {
        /// Its number.
        number: u64,
        /// What has come of it.
        answer: MoveAnswer,
    },
}

/// What has come of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MoveAnswer {
    /// The client is not here.
    NotHere,
    /// The client is here, and moves when it is at rest; another answer follows.
    Here,
    /// So many were moved.
    Moved(u32),
    /// The client was not moved.
    Stayed(Stay),
}

impl ToWorker {
    /// Appends the message as one frame to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Succession(succession) => put_frame(out, SUCCESSION, |out| match succession {
                Succession::Nobody => out.push(0),
                Succession::Expected => out.push(1),
                Succession::To(place) => {
                    out.push(2);
                    put_place(out, *place);
                }
            }),
            Self::Client { number, client, to } => put_frame(out, CLIENT, |out| {
                out.extend_from_slice(&number.to_be_bytes());
                out.extend_from_slice(&client.to_be_bytes());
                put_place(out, *to);
            }),
            Self::Give { number, gifts } => put_frame(out, GIVE, |out| {
                out.extend_from_slice(&number.to_be_bytes());
                let count = u32::try_from(gifts.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&count.to_be_bytes());
                for (to, count) in gifts {
                    put_place(out, *to);
                    out.extend_from_slice(&count.to_be_bytes());
                }
            }),
        }
    }

    /// Takes the body of a frame of this kind, if it is one of these.
    pub(crate) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        Ok(Some(match kind {
            SUCCESSION => Self::Succession(match octets.u8()? {
                0 => Succession::Nobody,
                1 => Succession::Expected,
                2 => Succession::To(place(octets)?),
                _ => return Err(Truncated),
            }),
            CLIENT => Self::Client {
                number: octets.u64()?,
                client: octets.u64()?,
                to: place(octets)?,
            },
            GIVE => Self::Give {
                number: octets.u64()?,
                gifts: {
                    let count = octets.u32()?;
                    let gift = |_| Ok((place(octets)?, octets.u32()?));
                    (0..count).map(gift).collect::<Result<_, Truncated>>()?
                },
            },
            _ => return Ok(None),
        }))
    }
}

impl FromWorker {
    /// Appends the message as one frame to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Self::Answer { number, answer } = self;
        put_frame(out, ANSWER, |out| {
            out.extend_from_slice(&number.to_be_bytes());
            match answer {
                MoveAnswer::NotHere => out.push(0),
                MoveAnswer::Here => out.push(1),
                MoveAnswer::Moved(count) => {
                    out.push(2);
                    out.extend_from_slice(&count.to_be_bytes());
                }
                MoveAnswer::Stayed(why) => out.extend([3, why.code()]),
            }
        });
    }

    /// Takes the body of a frame of this kind, if it is one of these.
    pub(crate) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        if kind != ANSWER {
            return Ok(None);
        }
        Ok(Some(Self::Answer {
            number: octets.u64()?,
            answer: match octets.u8()? {
                0 => MoveAnswer::NotHere,
                1 => MoveAnswer::Here,
                2 => MoveAnswer::Moved(octets.u32()?),
                3 => MoveAnswer::Stayed(Stay::of_code(octets.u8()?)),
                _ => return Err(Truncated),
            },
        }))
    }
}

fn put_place(out: &mut Vec<u8>, place: Place) {
    out.push(place.slot.get());
    out.extend_from_slice(&place.generation.to_be_bytes());
}

fn place(octets: &mut Octets<'_>) -> Result<Place, Truncated> {
    let slot: Slot = slot(octets)?;
    let generation = octets.u32()?;
    Ok(Place { slot, generation })
}

const SUCCESSION: u8 = 145;
const CLIENT: u8 = 146;
const GIVE: u8 = 147;
const ANSWER: u8 = 71;
