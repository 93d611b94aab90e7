//! A real HAProxy in front of several groups, with the configuration in `etc`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::account::Account;
use crate::folder::Folder;
use crate::http::Http;
use crate::pgskein::Run;
use crate::pooler::Pooler;
use crate::route::free_port;
use crate::tools::{PROGRAM_DEADLINE, run};
use crate::wait::{PATIENCE, wait_for};

/// HAProxy; it ends when this goes out of scope.
#[derive(Debug)]
pub struct Balancer {
    folder: Folder,
    port: u16,
    child: Child,
}

impl Balancer {
    /// Starts it in front of these groups, and waits until all of them are up.
    ///
    /// `change` may change the configuration.
    pub fn start(groups: &[(&Pooler, Http)], change: impl FnOnce(String) -> String) -> Self {
        let account = Account::unprivileged();
        let folder = Folder::make("haproxy", &account);
        let port = free_port();
        let text = change(configuration(port, &folder.join("admin"), groups));
        fs::write(folder.join("haproxy.cfg"), text).expect("a file can be written");
        account.give(&folder.join("haproxy.cfg"));
        let mut command = program();
        account.apply(&mut command);
        let log = File::create(folder.join("log")).expect("a file can be made");
        command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.stderr(log).spawn().expect("haproxy is installed");
        let balancer = Self {
            folder,
            port,
            child,
        };
        for group in 1..=groups.len() {
            balancer.wait_up(group, true);
        }
        balancer
    }

    /// What HAProxy says of a configuration.
    pub fn check(file: &Path) -> Run {
        let mut command = program();
        command.arg("-c").arg("-f").arg(file);
        run(command, PROGRAM_DEADLINE)
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it sends clients to a group, from 1, or does not any more.
    pub fn wait_up(&self, group: usize, up: bool) {
        let what = format!("HAProxy to find group {group} up: {up}");
        wait_for(&what, PATIENCE, || self.is_up(group) == Some(up));
    }

    /// Whether it sends clients to a group.
    fn is_up(&self, group: usize) -> Option<bool> {
        let statistics = self.ask("show stat")?;
        let mut lines = statistics.lines();
        let header = lines.next()?.trim_start_matches("# ");
        let column = header.split(',').position(|name| name == "status")?;
        let server = format!("pgskein,host{group},");
        let line = lines.find(|line| line.starts_with(&server))?;
        // While it changes its mind it says how far it is, such as `UP 1/2`.
        line.split(',')
            .nth(column)
            .map(|status| status.starts_with("UP"))
    }

    fn ask(&self, command: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.folder.join("admin")).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        writeln!(socket, "{command}").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log"));
            eprintln!("---- HAProxy\n{}----", log.unwrap_or_default());
        }
    }
}

/// The file in `etc` with other addresses, and looks that are not as far apart.
fn configuration(port: u16, admin: &Path, groups: &[(&Pooler, Http)]) -> String {
    let mut text = String::new();
    for line in include_str!("../../etc/haproxy.cfg").lines() {
        match line.trim() {
            // Threads would each count sessions, and deal them a little differently.
            "global" => {
                let admin = admin.display();
                text.push_str(&format!(
                    "{line}\n    nbthread 1\n    stats socket {admin}\n"
                ));
            }
            // A host that is slow to answer here is not one that is out.
            "timeout check 2s" => text.push_str("    timeout check 15s\n"),
            // As many descriptors as that takes may not be allowed here.
            "maxconn 10000" => text.push_str("    maxconn 200\n"),
            "bind *:5432" => text.push_str(&format!("    bind 127.0.0.1:{port}\n")),
            server if server.starts_with("server ") => {}
            _ => {
                let line = line.replace("port 8080 inter 1s fastinter 500ms downinter 1s", LOOKS);
                text.push_str(&format!("{line}\n"));
            }
        }
    }
    for changed in [
        LOOKS,
        "    bind 127.0.0.1:",
        "nbthread",
        "timeout check 15s",
    ] {
        assert!(text.contains(changed), "{changed}");
    }
    for (number, (pooler, http)) in (1..).zip(groups) {
        text.push_str(&format!(
            "    server host{number} 127.0.0.1:{} port {}\n",
            pooler.port(),
            http.address().port()
        ));
    }
    text
}

/// Debian has it in a folder that is not in everybody's `PATH`.
fn program() -> Command {
    let path = "/usr/sbin/haproxy";
    Command::new(if Path::new(path).exists() {
        path
    } else {
        "haproxy"
    })
}

const LOOKS: &str = "inter 100ms fastinter 100ms downinter 100ms";
