//! Offers: what a taker is told, and what it answers.

use pgskein_pool::handoff::{CargoKind, Refusal, ToGiver, ToTaker, Unexpected};
use pgskein_pool::slab::WayId;

use super::super::Worker;
use super::Reserved;
use super::pipe::NotThere;
use super::way::{Broken, End, Way};

impl Worker {
    /// Does what the giver says; gives how many bytes it took to say it.
    pub(super) fn on_offers(&mut self, id: WayId, bytes: &[u8]) -> (usize, Result<(), Broken>) {
        let mut rest = bytes;
        match ToTaker::split(bytes) {
            Ok(None) => {}
            Ok(Some((frame, left))) => {
                rest = left;
                if self.on_offer(id, frame).is_err() {
                    log::warn!("a worker that hands over has said what cannot be");
                    return (0, Err(Broken));
                }
            }
            Err(error) => {
                log::warn!("handoff: {error}");
                return (0, Err(Broken));
            }
        }
        (bytes.len() - rest.len(), Ok(()))
    }

    fn on_offer(&mut self, id: WayId, frame: ToTaker<'_>) -> Result<(), Unexpected> {
        let Some(Way {
            pipe,
            place,
            end: End::Taker { pid, taking },
            ..
        }) = self.ways.get_mut(id)
        else {
            return Err(Unexpected);
        };
        let (from, pid) = (*place, *pid);
        let answer = match frame {
            ToTaker::Offer {
                id: number,
                cargo,
                descriptors,
                body,
            } => {
                taking.on_offer(number)?;
                let kind = CargoKind::of_code(cargo);
                let reserved = match pipe.descriptors(descriptors) {
                    Ok(descriptors) => self.reserve(kind, from, body, descriptors),
                    Err(NotThere::Lost) => Err(Refusal::NoDescriptors),
                    Err(NotThere::Wrong) => return Err(Unexpected),
                };
                if kind == Some(CargoKind::Accepted) {
                    self.cell.expected_no_more();
                }
                match reserved {
                    Ok(reserved) if kind.is_some_and(CargoKind::starts_at_once) => {
                        self.start(reserved, from, pid);
                        ToGiver::Taken { id: number }
                    }
                    Ok(reserved) => {
                        self.reserved(id, number, reserved);
                        ToGiver::Ready { id: number }
                    }
                    Err(refusal) => ToGiver::Refused {
                        id: number,
                        refusal,
                    },
                }
            }
            ToTaker::Commit { id: number } => {
                let reserved = taking.on_commit(number)?;
                self.start(reserved, from, pid);
                ToGiver::Taken { id: number }
            }
            ToTaker::Withdraw { id: number } => {
                if let Some(reserved) = taking.on_withdraw(number) {
                    self.release(reserved, from);
                }
                return Ok(());
            }
        };
        if let Some(way) = self.ways.get_mut(id) {
            let mut frame = Vec::new();
            answer.encode(&mut frame);
            way.pipe.push(frame);
        }
        Ok(())
    }

    fn reserved(&mut self, id: WayId, number: u32, reserved: Reserved) {
        if let Some(Way {
            end: End::Taker { taking, .. },
            ..
        }) = self.ways.get_mut(id)
        {
            taking.reserved(number, reserved);
        }
    }
}
