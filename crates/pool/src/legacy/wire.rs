//! The legacy as bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{
    AskerId, Common, Configuration, Descriptor, Http, HttpProcess, Legacy, LegacyError, Link, Peer,
    Place, Program, Restart, UnixSocket, Worker,
};
use crate::console::Topic;
use crate::control::{Asked, slot};
use crate::drain_order::DrainOrder;
use crate::ledger::{put_worker, worker};
use crate::octets::{Octets, Truncated, put_bytes, put_count, put_duration, put_option};

impl Legacy {
    /// All of it as bytes, without the descriptors themselves.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        self.program.encode(&mut out);
        self.config.encode(&mut out);
        self.common.encode(&mut out);
        put_list(&mut out, &self.places, Place::encode);
        put_list(&mut out, &self.workers, Worker::encode);
        put_list(&mut out, &self.peers, Peer::encode);
        put_list(&mut out, &self.asked, |(asker, asked), out| {
            put_option(out, *asker, |out, asker| asker.encode(out));
            asked.encode(out);
        });
        put_list(&mut out, &self.drains, DrainOrder::encode);
        put_list(&mut out, &self.tables, |(asker, topic), out| {
            asker.encode(out);
            out.push(topic.code());
        });
        put_option(&mut out, self.restart.asker, |out, asker| asker.encode(out));
        put_duration(&mut out, self.restart.age);
        put_number(&mut out, self.restart.workers);
        put_bytes(&mut out, self.restart.notice.as_bytes());
        put_bytes(&mut out, &self.books);
        out
    }

    /// Reads what [`Legacy::encode`] wrote.
    ///
    /// # Errors
    ///
    /// [`LegacyError`] when it is not of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, LegacyError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(LegacyError::Malformed)?;
        match rest.split_first() {
            Some((version @ 1..=VERSION, body)) => {
                Self::take(&mut Octets(body), *version).map_err(|Truncated| LegacyError::Malformed)
            }
            Some((version, _)) => Err(LegacyError::Version(*version)),
            None => Err(LegacyError::Malformed),
        }
    }

    /// The descriptors that stay open, each once.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        let common = &self.common;
        let mut found = vec![common.lock, common.peer, common.scoreboard];
        found.extend(common.unix.as_ref().map(|unix| unix.listener));
        found.extend(&common.cancel_listeners);
        if let Some(http) = &common.http {
            found.extend(&http.listeners);
            found.extend(http.process.as_ref().map(|process| process.link));
        }
        found.extend(self.places.iter().flat_map(|place| &place.listeners));
        let links = self
            .workers
            .iter()
            .filter_map(|worker| worker.link.as_ref());
        for link in links {
            found.push(link.socket);
            found.extend(link.outbox.iter().flat_map(|(_, with_it)| with_it));
        }
        found.extend(self.peers.iter().map(|peer| peer.socket));
        found
    }

    fn take(octets: &mut Octets<'_>, version: u8) -> Result<Self, Truncated> {
        let legacy = Self {
            program: Program::decode(octets)?,
            config: Configuration::decode(octets)?,
            common: Common::decode(octets, version)?,
            places: octets.list(Place::decode)?,
            workers: octets.list(Worker::decode)?,
            peers: octets.list(Peer::decode)?,
            asked: octets
                .list(|octets| Ok((octets.option(AskerId::decode)?, Asked::take(octets)?)))?,
            drains: octets.list(DrainOrder::decode)?,
            tables: octets.list(|octets| {
                let asker = AskerId::decode(octets)?;
                Ok((asker, Topic::of_code(octets.u8()?).ok_or(Truncated)?))
            })?,
            restart: Restart {
                asker: octets.option(AskerId::decode)?,
                age: octets.duration()?,
                workers: octets.u32()?,
                notice: octets.text()?,
            },
            books: octets.bytes()?.to_vec(),
        };
        octets.end().map(|()| legacy)
    }
}

impl AskerId {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_number(out, self.worker);
        out.extend_from_slice(&self.request.to_be_bytes());
    }

    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            worker: octets.u32()?,
            request: octets.u64()?,
        })
    }
}

impl Program {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.version.as_bytes());
        put_path(out, &self.path);
        out.push(u8::from(self.stderr));
        out.push(self.verbose);
    }

    fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            version: octets.text()?,
            path: path(octets)?,
            stderr: octets.u8()? != 0,
            verbose: octets.u8()?,
        })
    }
}

impl Configuration {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_be_bytes());
        put_bytes(out, &self.former);
        put_bytes(out, &self.sources);
        put_list(out, &self.fixed, |(name, value), out| {
            put_bytes(out, name.as_bytes());
            put_bytes(out, value.as_bytes());
        });
    }

    fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            version: octets.u64()?,
            former: octets.bytes()?.to_vec(),
            sources: octets.bytes()?.to_vec(),
            fixed: octets.list(|octets| Ok((octets.text()?, octets.text()?)))?,
        })
    }
}

impl Common {
    fn encode(&self, out: &mut Vec<u8>) {
        put_duration(out, self.age);
        put_number(out, self.last_token);
        put_path(out, &self.runtime_dir);
        for descriptor in [self.lock, self.peer, self.scoreboard] {
            put_descriptor(out, descriptor);
        }
        out.extend_from_slice(&self.scoreboard_version.to_be_bytes());
        put_option(out, self.pidfile.as_deref(), put_path);
        put_option(out, self.unix.as_ref(), |out, unix| {
            put_descriptor(out, unix.listener);
            put_path(out, &unix.path);
            put_option(out, unix.mark.as_deref(), |out, mark| {
                put_bytes(out, mark.as_bytes());
            });
        });
        out.extend_from_slice(&self.statement_key);
        put_descriptors(out, &self.cancel_listeners);
        put_option(out, self.http.as_ref(), |out, http| http.encode(out));
    }

    fn decode(octets: &mut Octets<'_>, version: u8) -> Result<Self, Truncated> {
        Ok(Self {
            age: octets.duration()?,
            last_token: octets.u32()?,
            runtime_dir: path(octets)?,
            lock: descriptor(octets)?,
            peer: descriptor(octets)?,
            scoreboard: descriptor(octets)?,
            scoreboard_version: octets.u64()?,
            pidfile: octets.option(path)?,
            unix: octets.option(|octets| {
                Ok(UnixSocket {
                    listener: descriptor(octets)?,
                    path: path(octets)?,
                    mark: octets.option(Octets::text)?,
                })
            })?,
            statement_key: octets.array()?,
            cancel_listeners: match version {
                1 => Vec::new(),
                _ => octets.list(descriptor)?,
            },
            http: match version {
                1 => None,
                _ => octets.option(Http::decode)?,
            },
        })
    }
}

impl Http {
    fn encode(&self, out: &mut Vec<u8>) {
        put_descriptors(out, &self.listeners);
        put_option(out, self.process.as_ref(), |out, process| {
            put_number(out, process.pid);
            put_descriptor(out, process.link);
        });
    }

    fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            listeners: octets.list(descriptor)?,
            process: octets.option(|octets| {
                Ok(HttpProcess {
                    pid: octets.u32()?,
                    link: descriptor(octets)?,
                })
            })?,
        })
    }
}

impl Place {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.slot.get());
        put_number(out, self.generation);
        put_number(out, self.failures);
        out.push(u8::from(self.retired));
        put_descriptors(out, &self.listeners);
        put_option(out, self.worker, put_number);
        put_option(out, self.adopter, put_number);
    }

    fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            slot: slot(octets)?,
            generation: octets.u32()?,
            failures: octets.u32()?,
            retired: octets.u8()? != 0,
            listeners: octets.list(descriptor)?,
            worker: octets.option(Octets::u32)?,
            adopter: octets.option(Octets::u32)?,
        })
    }
}

impl Worker {
    fn encode(&self, out: &mut Vec<u8>) {
        put_worker(out, self.id);
        put_number(out, self.pid);
        put_option(out, self.link.as_ref(), |out, link| link.encode(out));
        put_duration(out, self.age);
        put_option(out, self.ready, put_duration);
        put_option(out, self.kill_in, put_duration);
    }

    fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            id: worker(octets)?,
            pid: octets.u32()?,
            link: octets.option(Link::decode)?,
            age: octets.duration()?,
            ready: octets.option(Octets::duration)?,
            kill_in: octets.option(Octets::duration)?,
        })
    }
}

impl Link {
    fn encode(&self, out: &mut Vec<u8>) {
        put_descriptor(out, self.socket);
        put_bytes(out, &self.inbox);
        put_list(out, &self.outbox, |(bytes, with_it), out| {
            put_bytes(out, bytes);
            put_descriptors(out, with_it);
        });
    }

    fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            socket: descriptor(octets)?,
            inbox: octets.bytes()?.to_vec(),
            outbox: octets
                .list(|octets| Ok((octets.bytes()?.to_vec(), octets.list(descriptor)?)))?,
        })
    }
}

impl Peer {
    fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.token);
        put_descriptor(out, self.socket);
        put_bytes(out, &self.inbox);
        put_duration(out, self.left);
    }

    fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            token: octets.u32()?,
            socket: descriptor(octets)?,
            inbox: octets.bytes()?.to_vec(),
            left: octets.duration()?,
        })
    }
}

fn put_list<T>(out: &mut Vec<u8>, list: &[T], put: impl Fn(&T, &mut Vec<u8>)) {
    put_count(out, list.len());
    for element in list {
        put(element, out);
    }
}

fn put_number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_descriptor(out: &mut Vec<u8>, descriptor: Descriptor) {
    out.extend_from_slice(&descriptor.to_be_bytes());
}

fn put_descriptors(out: &mut Vec<u8>, descriptors: &[Descriptor]) {
    put_list(out, descriptors, |descriptor, out| {
        put_descriptor(out, *descriptor);
    });
}

fn descriptor(octets: &mut Octets<'_>) -> Result<Descriptor, Truncated> {
    octets.array().map(Descriptor::from_be_bytes)
}

fn put_path(out: &mut Vec<u8>, path: &Path) {
    put_bytes(out, path.as_os_str().as_bytes());
}

fn path(octets: &mut Octets<'_>) -> Result<PathBuf, Truncated> {
    octets
        .bytes()
        .map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)))
}

const MAGIC: &[u8] = b"pgskein!";
const VERSION: u8 = 2;
