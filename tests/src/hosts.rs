//! Several groups that are as good as hosts, behind a balancer.

use std::net::TcpStream;

use crate::balancer::Balancer;
use crate::client::{Client, Login};
use crate::daemon::Daemon;
use crate::http::Http;
use crate::pooler::Pooler;
use crate::postgres::Postgres;
use crate::wait::{PATIENCE, wait_for};
use crate::wire::{ErrorFields, Wire};

/// Groups behind a balancer that knows nothing of PostgreSQL.
#[derive(Debug)]
pub struct Hosts {
    /// The balancer; first, so that it ends before the groups.
    pub balancer: Balancer,
    /// The groups.
    pub groups: Vec<Host>,
}

/// One of them.
#[derive(Debug)]
pub struct Host {
    /// What was started again after the end of the first group.
    again: Option<Daemon>,
    /// The group as it was started first.
    pub pooler: Pooler,
    /// Where it tells how it is.
    pub http: Http,
}

impl Hosts {
    /// Starts so many groups with these settings, and a balancer.
    pub fn start(postgres: &Postgres, count: usize, settings: &str) -> Self {
        Self::start_changed(postgres, count, settings, |text| text)
    }

    /// The same, with a change of the balancer's configuration.
    pub fn start_changed(
        postgres: &Postgres,
        count: usize,
        settings: &str,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let host = |_| {
            let http = Http::unused();
            let settings = format!("{}\n{settings}", http.setting());
            Host {
                again: None,
                pooler: Pooler::start(postgres, &settings),
                http,
            }
        };
        let groups: Vec<Host> = (0..count).map(host).collect();
        let known: Vec<(&Pooler, Http)> = groups.iter().map(|h| (&h.pooler, h.http)).collect();
        let balancer = Balancer::start(&known, change);
        Self { balancer, groups }
    }

    /// Makes the groups each other's peers; `settings` are those of the start.
    pub fn introduce(&self, settings: &str) {
        let peers: String = (1..)
            .zip(&self.groups)
            .map(|(id, host)| {
                format!(
                    "{id} = host=127.0.0.1 port={} kind=pgskein\n",
                    host.pooler.port()
                )
            })
            .collect();
        for (id, host) in (1..).zip(&self.groups) {
            let http = host.http.setting();
            let settings = format!("{http}\n{settings}\npeer_id = {id}\n\n[peers]\n{peers}");
            host.pooler.reload(&settings);
        }
    }

    /// Logs in through the balancer.
    ///
    /// # Errors
    ///
    /// The error of the login; an empty one when the connection was closed.
    pub fn connect(&self, login: &Login) -> Result<Client, ErrorFields> {
        Self::log_in(self.balancer.port(), login)
    }

    /// Logs in through the balancer that has this port.
    ///
    /// # Errors
    ///
    /// As [`Hosts::connect`].
    pub fn log_in(port: u16, login: &Login) -> Result<Client, ErrorFields> {
        Client::log_in(Self::wire(port), login)
    }

    /// A connection to the balancer that has this port.
    pub fn wire(port: u16) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port));
        Wire::tcp(stream.expect("HAProxy accepts connections"))
    }

    /// Ends what was started again, in order.
    pub fn stop(mut self) {
        for host in &mut self.groups {
            if let Some(daemon) = host.again.take() {
                daemon.stop();
            }
        }
    }

    /// Waits until the balancer sends clients to group `n`, from 1.
    pub fn wait_up(&self, n: usize) {
        self.balancer.wait_up(n, true);
    }
}

impl Host {
    /// Starts a group again in the place of one that has ended.
    pub fn start_again(&mut self) {
        self.again = Some(Daemon::start(&self.pooler));
        self.http.wait_ready();
    }

    /// Kills supervisor and workers.
    pub fn kill(&self) {
        let mut all = vec![self.pooler.supervisor()];
        all.extend(self.pooler.workers().into_values());
        for process in &all {
            process.kill();
        }
        wait_for("their end", PATIENCE, || {
            let _reaped = self.pooler.exit_status();
            all.iter().all(|process| !process.is_alive())
        });
    }
}
