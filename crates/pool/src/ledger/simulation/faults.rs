//! What goes wrong, or is changed while the group serves.

use super::super::Ledger;
use super::check::Lately;
use super::process::{Down, Life};
use super::setup::ms;
use super::world::{What, World};

impl World {
    /// Something goes wrong, or is changed.
    pub(super) fn fault(&mut self) {
        if !self.is_troubled() {
            return;
        }
        let mean = self.setup.faults.unwrap_or(ms(500));
        let next = self.random.time(&(ms(1)..mean * 2));
        self.after(next, What::Fault);
        let living: Vec<u32> = self
            .processes
            .values()
            .filter(|p| p.lives())
            .map(|p| p.id.incarnation)
            .collect();
        let Some(worker) = self.random.pick(&living) else {
            return;
        };
        match self.random.number(0..6) {
            0 | 1 => self.kill(worker),
            2 => self.replace(worker),
            3 => self.execute_anew(),
            4 => {
                let streams: Vec<u32> = self.streams.keys().copied().collect();
                if let Some(number) = self.random.pick(&streams) {
                    self.break_stream(number);
                }
            }
            _ => self.reload(),
        }
    }

    pub(super) fn kill(&mut self, worker: u32) {
        let process = self.processes.get_mut(&worker).unwrap();
        let id = process.id;
        let serving = process.life == Life::Serving;
        process.life = Life::Dead;
        let clients: Vec<_> = process
            .clients
            .iter()
            .map(|(_, c)| (c.pool, c.dedicated))
            .collect();
        let backends: Vec<_> = process
            .servers
            .iter()
            .filter_map(|(_, s)| s.backend)
            .collect();
        for (pool, dedicated) in clients {
            let after = self.random.time(&(ms(1)..ms(100)));
            self.after(after, What::Login(pool, dedicated));
        }
        for number in backends {
            self.abandon_backend(number);
        }
        self.end_streams(worker);
        let noticed = self.random.time(&(ms(0)..ms(5)));
        self.after(noticed, What::Bury(worker));
        if serving {
            let respawn = self.random.time(&(ms(5)..ms(300)));
            self.after(respawn, What::Spawn(id.slot, id.generation));
        }
    }

    /// A connection has lost whoever used it.
    pub(super) fn abandon_backend(&mut self, number: u32) {
        if let Some(backend) = self.backends.get_mut(&number) {
            backend.orphaned = true;
            let idle = self.now.max(backend.busy_until);
            let last_breath = self.random.time(&(ms(0)..ms(5)));
            self.at(idle + last_breath, What::Ends(number));
        }
    }

    /// A successor takes a worker's slot; it serves those whom it has.
    fn replace(&mut self, worker: u32) {
        let process = self.processes.get_mut(&worker).unwrap();
        if process.life == Life::Serving {
            let id = process.id;
            process.life = Life::Retiring;
            self.spawn(id.slot, id.generation + 1);
            self.retire_idle(worker);
        }
    }

    /// The supervisor begins anew, with the book of the one before.
    fn execute_anew(&mut self) {
        let mut bytes = Vec::new();
        self.ledger.encode(self.now, &mut bytes);
        let asked = self.processes.values().map(|process| process.id);
        let ledger = Ledger::decode(&bytes, asked, self.now);
        self.ledger = ledger.expect("its own book can be read");
        self.alarm = None;
        self.supervisor += 1;
        // It does not know that PostgreSQL takes no more.
        self.lately = Lately::default();
        for worker in self.processes.keys().copied().collect::<Vec<_>>() {
            self.send_down(worker, Down::AsksForReport(self.supervisor));
        }
        self.pass_on();
    }

    fn reload(&mut self) {
        let at = self.random.position(self.setup.pools.len());
        let pool_size = self.random.number(1..7);
        let limits = &mut self.setup.pools[at].limits;
        limits.pool_size = pool_size;
        limits.min_pool_size = limits.min_pool_size.min(pool_size);
        self.renew_limits();
        for process in self.processes.values_mut() {
            for (_, pool) in process.pools.iter_mut() {
                let setup = self.setup.pools.iter().find(|setup| setup.key == pool.key);
                pool.configure(setup.unwrap().settings());
            }
        }
    }
}
