//! A process that asks PAM one question, and the way to it.
//!
//! Modules of PAM may take for ever, change what a process does on signals, or
//! crash. So it is no worker that they run in but the same program in a process
//! that ends with the question, or that is killed when nobody waits for the
//! answer any more.
//!
//! The question comes over standard input: a byte for the version, then service,
//! folder, user, password and address, each with its length in four bytes before
//! it. The answer goes to standard output: `+`, or `-` and why not.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, dup2_stdout};
use pgskein_config::{Checker, Config, Finding, Pam};
use zeroize::Zeroizing;

use crate::supervisor::signals::ignored_by_workers;
use crate::sys::{pam, process};

/// What a service of PAM is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The service.
    pub pam: &'a Pam,
    /// The user.
    pub user: &'a [u8],
    /// The password of the user.
    pub password: &'a [u8],
    /// Where the user comes from.
    pub remote: &'a [u8],
}

/// What PAM says; why not, if the user may not come in.
pub(crate) type Answer = Result<(), String>;

/// Asks a service by a process of its own, which is killed once `wanted` says
/// that nobody wants the answer any more; `None` then.
///
/// # Errors
///
/// The error of starting a process, or of hearing from it.
pub(crate) fn ask(
    question: &Question<'_>,
    wanted: impl Fn() -> bool,
) -> io::Result<Option<Answer>> {
    let mut child = Asking(
        // The very program that runs here, whatever is at its path by now.
        Command::new("/proc/self/exe")
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?,
    );
    if let Some(mut stdin) = child.0.stdin.take() {
        stdin.write_all(&encoded(question))?;
    }
    let Some(mut stdout) = child.0.stdout.take() else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let mut said = Vec::new();
    loop {
        if !wanted() {
            return Ok(None);
        }
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        let slice = PollTimeout::try_from(SLICE).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, slice) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 1024];
        let read = stdout.read(&mut bytes)?;
        said.extend_from_slice(bytes.get(..read).unwrap_or_default());
        if read == 0 {
            break;
        }
    }
    let status = child.0.wait()?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(Some(match said.split_first() {
        Some((b'+', [])) if status.success() => Ok(()),
        Some((b'-', why)) => Err(text(why)),
        _ => Err(format!("its process ended without an answer: {status}")),
    }))
}

/// Answers the question on standard input, as [`ask`] has started this process.
pub(crate) fn answer() -> ExitCode {
    // If it dies without having asked, nobody is let in.
    let outcome = prepare().and_then(|out| {
        let mut question = Zeroizing::new(Vec::with_capacity(QUESTION_ROOM));
        io::stdin().read_to_end(&mut question)?;
        let texts = decoded(&question).ok_or(io::ErrorKind::InvalidData)?;
        Ok((out, texts))
    });
    let Ok((mut out, [service, folder, user, password, remote])) = outcome else {
        return ExitCode::FAILURE;
    };
    let question = pam::Question {
        service: &service,
        folder: (!folder.is_empty()).then_some(&folder),
        user: &user,
        password: &password,
        remote: &remote,
    };
    let answer = match pam::Pam::load().and_then(|pam| pam.ask(&question)) {
        Ok(()) => "+".to_owned(),
        Err(error) => format!("-{error}"),
    };
    match out.write_all(answer.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether PAM can be asked, where a configuration says so.
///
/// # Errors
///
/// Why it cannot be.
pub(crate) fn usable(config: &Config) -> Result<(), Finding> {
    let services: Vec<_> = config
        .checkers()
        .filter_map(|checker| match checker {
            Checker::Pam(pam) => Some(pam),
            Checker::Ldap(_) => None,
        })
        .collect();
    if services.is_empty() {
        return Ok(());
    }
    let finding = |problem: String| {
        let place = config.places.get("auth_type").cloned();
        place.unwrap_or_default().finding("auth_type", problem)
    };
    let library = pam::Pam::load().map_err(|error| finding(error.to_string()))?;
    if services.iter().any(|pam| pam.folder.is_some()) && !library.has_folders() {
        let problem = "pamconfdir needs Linux-PAM 1.4 or later";
        return Err(finding(problem.to_owned()));
    }
    Ok(())
}

/// A process that is killed, with all that it has started, unless it has ended.
struct Asking(Child);

impl Drop for Asking {
    fn drop(&mut self) {
        if let (Ok(None), Ok(pid)) = (self.0.try_wait(), i32::try_from(self.0.id())) {
            // What it has started is in its group; what is not has ended.
            let _ended_already = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            let _ended_already = self.0.wait();
        }
    }
}

/// Makes this process fit for modules of PAM; gives the way of the answer, for
/// they may write to standard output.
fn prepare() -> io::Result<File> {
    set_pdeathsig(Signal::SIGKILL)?;
    // Workers ignore some, and who ignores them has its children do so.
    let mut signals = ignored_by_workers();
    signals.add(Signal::SIGPIPE);
    signals.add(Signal::SIGCHLD);
    process::restore(signals)?;
    // No file may hold the password.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Some close as many as there may be.
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(hard), hard)?;
    let out = io::stdout().as_fd().try_clone_to_owned()?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdout(&nothing)?;
    Ok(File::from(out))
}

fn encoded(question: &Question<'_>) -> Zeroizing<Vec<u8>> {
    let folder = question.pam.folder.as_deref().unwrap_or_default();
    let texts = [
        question.pam.service.as_bytes(),
        folder.as_bytes(),
        question.user,
        question.password,
        question.remote,
    ];
    let room = texts.iter().map(|text| text.len() + 4).sum::<usize>() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    bytes.push(FORMAT);
    for text in texts {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(text);
    }
    bytes
}

fn decoded(bytes: &[u8]) -> Option<[CString; 5]> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != FORMAT {
        return None;
    }
    let mut next = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (text, behind) = behind.split_at_checked(length)?;
        rest = behind;
        CString::new(text).ok()
    };
    let texts = [next()?, next()?, next()?, next()?, next()?];
    rest.is_empty().then_some(texts)
}

/// What the program is told to be such a process by.
const FLAG: &str = "--pam-check";

/// Version of the question.
const FORMAT: u8 = 1;

/// Room for a question, so that reading leaves no piece of it in memory.
const QUESTION_ROOM: usize = 128 * 1024;

/// How often it is looked whether anybody still waits.
const SLICE: Duration = Duration::from_millis(200);

/// Descriptors that modules may have open.
const DESCRIPTORS: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn question(pam: &Pam) -> Question<'_> {
        Question {
            pam,
            user: b"alice",
            password: b"secret",
            remote: b"10.0.0.7",
        }
    }

    #[test]
    fn reads_the_question_that_was_written() {
        let pam = Pam {
            folder: Some("/etc/x".to_owned()),
            ..Pam::default()
        };
        let bytes = encoded(&question(&pam));
        assert_eq!(
            bytes.as_slice(),
            b"\x01\0\0\0\x09pgbouncer\0\0\0\x06/etc/x\0\0\0\x05alice\
              \0\0\0\x06secret\0\0\0\x0810.0.0.7"
        );
        let texts = decoded(&bytes).unwrap();
        let texts = texts.each_ref().map(|text| text.to_str().unwrap());
        assert_eq!(
            texts,
            ["pgbouncer", "/etc/x", "alice", "secret", "10.0.0.7"]
        );
    }

    #[test]
    fn rejects_what_is_no_question() {
        let bytes = encoded(&question(&Pam::default()));
        for end in 0..bytes.len() {
            assert_eq!(decoded(&bytes[..end]), None, "{end}");
        }
        assert_eq!(decoded(&[bytes.as_slice(), b"x"].concat()), None);
        assert_eq!(decoded(&[b"\x02", &bytes[1..]].concat()), None);
        // A text that would end before its end.
        let pam = Pam::default();
        let cut = Question {
            user: b"root\0x",
            ..question(&pam)
        };
        assert_eq!(decoded(&encoded(&cut)), None);
    }
}
