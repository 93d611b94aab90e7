//! What the kernel tells of a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A running process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Process(pub i32);

/// A process that does nothing as long as this is in scope.
#[derive(Debug)]
pub struct Stopped(Process);

impl Stopped {
    /// Stops a process.
    pub fn new(process: Process) -> Self {
        process.signal(Signal::SIGSTOP);
        Self(process)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have been killed as it was.
        let _gone_already = kill(Pid::from_raw(self.0.0), Signal::SIGCONT);
    }
}

/// What an open descriptor refers to.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Descriptor {
    /// A TCP socket that listens on this port.
    TcpListener(u16),
    /// A TCP connection; the port on our side.
    Tcp(u16),
    /// A unix socket that listens, with the name of its file.
    UnixListener(String),
    /// A unix socket of a connection or a pair.
    Unix,
    /// A file, with its name.
    File(String),
    /// Anything else, as /proc names it, without numbers.
    Other(String),
}

impl Process {
    /// Sends it a signal.
    pub fn signal(self, signal: Signal) {
        kill(Pid::from_raw(self.0), signal)
            .unwrap_or_else(|e| panic!("cannot send {signal} to {}: {e}", self.0));
    }

    /// Kills it, if it is still there.
    pub fn kill(self) {
        let _gone_already = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }

    /// Sends a signal to its process group, which it must lead.
    pub fn signal_group(self, signal: Signal) {
        killpg(Pid::from_raw(self.0), signal)
            .unwrap_or_else(|e| panic!("cannot send {signal} to group {}: {e}", self.0));
    }

    /// Tells whether it exists and is not a zombie.
    pub fn is_alive(self) -> bool {
        self.stat()
            .is_some_and(|fields| !matches!(fields[0].as_str(), "Z" | "X"))
    }

    /// Its parent.
    pub fn parent(self) -> Option<Self> {
        self.stat()?.get(1)?.parse().ok().map(Self)
    }

    /// Those that it started, living or zombies.
    pub fn children(self) -> Vec<Self> {
        all()
            .into_iter()
            .filter(|p| p.parent() == Some(self))
            .collect()
    }

    /// Living members of the process group with this number.
    pub fn group(self) -> Vec<Self> {
        let id = self.0.to_string();
        let is_member = |p: &Self| p.stat().is_some_and(|fields| fields[2] == id);
        all()
            .into_iter()
            .filter(is_member)
            .filter(|p| p.is_alive())
            .collect()
    }

    /// Its title, as `ps` shows it.
    pub fn title(self) -> String {
        let bytes = fs::read(self.file("cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&bytes).replace('\0', " ");
        title.trim().to_owned()
    }

    /// User number it runs under.
    pub fn uid(self) -> Option<u32> {
        let line = self.status_line("Uid:")?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Resident memory, in bytes.
    pub fn resident(self) -> u64 {
        self.status_line("VmRSS:")
            .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    }

    /// Most memory that was ever resident, in bytes.
    pub fn peak_resident(self) -> u64 {
        self.status_line("VmHWM:")
            .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    }

    /// Processor time it has used so far, to ten milliseconds.
    pub fn processor_time(self) -> Duration {
        let ticks = |at: usize| self.stat().and_then(|f| f.get(at)?.parse::<u64>().ok());
        let sum = ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0);
        Duration::from_millis(sum * 10)
    }

    /// What its descriptors refer to, sorted.
    pub fn descriptors(self) -> Vec<Descriptor> {
        let Ok(entries) = fs::read_dir(self.file("fd")) else {
            return Vec::new();
        };
        let sockets = Sockets::of(self);
        let mut found: Vec<Descriptor> = entries
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .map(|target| sockets.describe(&target))
            .collect();
        found.sort();
        found
    }

    /// Fields of `/proc/PID/stat` from the state on.
    fn stat(self) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.file("stat")).ok()?;
        // The name before it is in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        Some(rest.split_whitespace().map(str::to_owned).collect())
    }

    fn status_line(self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.file("status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().to_owned())
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }
}

/// Sockets of a network namespace by inode.
struct Sockets {
    tcp: String,
    unix: String,
}

impl Sockets {
    fn of(process: Process) -> Self {
        let read = |name: &str| fs::read_to_string(process.file(name)).unwrap_or_default();
        Self {
            tcp: read("net/tcp") + &read("net/tcp6"),
            unix: read("net/unix"),
        }
    }

    fn describe(&self, target: &Path) -> Descriptor {
        let target = target.to_string_lossy().into_owned();
        if let Some(inode) = target
            .strip_prefix("socket:[")
            .and_then(|t| t.strip_suffix(']'))
        {
            return self.socket(inode);
        }
        if let Some(kind) = target.strip_prefix("anon_inode:") {
            return Descriptor::Other(kind.to_owned());
        }
        if let Some(name) = target.strip_prefix("/memfd:") {
            return Descriptor::Other(format!("memfd:{}", name.trim_end_matches(" (deleted)")));
        }
        if target.starts_with('/') {
            return Descriptor::File(file_name(&target));
        }
        let kind = target.split(':').next().unwrap_or_default();
        Descriptor::Other(kind.to_owned())
    }

    fn socket(&self, inode: &str) -> Descriptor {
        for line in self.tcp.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.get(9) == Some(&inode) {
                let (_, port) = fields[1].rsplit_once(':').unwrap();
                let port = u16::from_str_radix(port, 16).unwrap();
                return if fields[3] == "0A" {
                    Descriptor::TcpListener(port)
                } else {
                    Descriptor::Tcp(port)
                };
            }
        }
        for line in self.unix.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.get(6) == Some(&inode) {
                let listens = fields[3] == "00010000";
                return match fields.get(7) {
                    Some(path) if listens => Descriptor::UnixListener(file_name(path)),
                    _ => Descriptor::Unix,
                };
            }
        }
        Descriptor::Other("socket".to_owned())
    }
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// All processes.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Process)
        .collect()
}
