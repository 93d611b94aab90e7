//! A real PgBouncer beside the pooler or as its peer.

use std::fs::{self, File, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::account::Account;
use crate::client::{Client, Login};
use crate::folder::Folder;
use crate::pooler::copy_program;
use crate::postgres::Postgres;
use crate::process::Process;
use crate::route::free_port;
use crate::tools::{PROGRAM_DEADLINE, installed, run};
use crate::wait::{PATIENCE, wait_for};
use crate::wire::Wire;

/// A PgBouncer under test, which is ended with its scenario.
#[derive(Debug)]
pub struct PgBouncer {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl PgBouncer {
    /// Starts one of 1.21 or later in front of `postgres`; `settings` are lines of its file, and
    /// may open further sections.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(postgres: &Postgres, settings: &str) -> Self {
        Self::start_program(&program(), postgres, settings)
    }

    /// The same of the one that is installed, however old.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_installed(postgres: &Postgres, settings: &str) -> Self {
        let debian = Path::new(DEBIAN);
        let program = if debian.exists() {
            debian.to_owned()
        } else {
            installed("pgbouncer")
        };
        Self::start_program(&program, postgres, settings)
    }

    fn start_program(program: &Path, postgres: &Postgres, settings: &str) -> Self {
        let account = Account::unprivileged();
        let folder = Folder::make("pgbouncer", &account);
        let port = free_port();
        let ini = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = {} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\nunix_socket_dir =\n{settings}\n",
            postgres.address()
        );
        fs::write(&ini, text).expect("a file can be written");
        fs::set_permissions(&ini, Permissions::from_mode(0o644)).expect("a mode can be set");
        // Its account may not get at the folder that it was built to.
        let copy = folder.join("pgbouncer");
        copy_program(program, &copy, 0o755);
        let mut command = Command::new(copy);
        command.arg("-q").arg(&ini).current_dir("/");
        let said = folder.join("stderr");
        let stderr = File::create(&said).expect("a file can be made");
        command.stdin(Stdio::null()).stderr(stderr);
        account.apply(&mut command);
        let mut child = command.spawn().expect("PgBouncer can be executed");
        wait_for("PgBouncer to listen", PATIENCE, || {
            if let Some(status) = child.try_wait().expect("it is our child") {
                let said = fs::read_to_string(&said).unwrap_or_default();
                panic!("PgBouncer has ended: {status}, {said}");
            }
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            child,
            port,
            _folder: folder,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(i32::try_from(self.child.id()).unwrap())
    }

    /// A raw connection.
    pub fn wire(&self) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", self.port));
        Wire::tcp(stream.expect("PgBouncer listens"))
    }

    /// Logs in.
    pub fn connect_as(&self, login: &Login) -> Client {
        Client::log_in(self.wire(), login).unwrap_or_else(|e| panic!("{login:?}: {e:?}"))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Debian's if it is new enough, which `scripts/pgbouncer.sh` looks at, else the
/// one that it has built.
fn program() -> PathBuf {
    let debian = Path::new(DEBIAN);
    if debian.exists() && is_new(debian) {
        return debian.to_owned();
    }
    installed("pgbouncer")
}

fn is_new(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version");
    let said = run(command, PROGRAM_DEADLINE).ok();
    let version = said.split_whitespace().nth(1).unwrap_or_default();
    let mut numbers = version.split('.').filter_map(|n| n.parse().ok());
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    number >= (1_u32, 21_u32)
}

/// Where Debian has it, which is not in everybody's `PATH`.
const DEBIAN: &str = "/usr/sbin/pgbouncer";
