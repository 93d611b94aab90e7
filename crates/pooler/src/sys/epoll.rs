//! Waiting for what several processes wait for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Waits for something to read from a socket that other processes wait for as
/// well: of those who are idle one is woken, not all.
///
/// `data` comes with the event. To be taken out like any other.
///
/// # Errors
///
/// The error of `epoll_ctl(2)`.
///
/// Source: epoll_ctl(2), `EPOLLEXCLUSIVE`.
pub(crate) fn wait_alone(
    epoll: &impl AsRawFd,
    socket: BorrowedFd<'_>,
    data: u64,
) -> io::Result<()> {
    let events = libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE;
    let mut event = libc::epoll_event {
        events: events.cast_unsigned(),
        u64: data,
    };
    // SAFETY: the kernel reads one `epoll_event`, which lives until the call
    // returns.
    let result = unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            socket.as_raw_fd(),
            &raw mut event,
        )
    };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::{array, env, fs, process, thread};

    use mio::{Events, Poll, Token, Waker};
    use nix::unistd::gettid;

    use super::*;

    /// Whether a thread sleeps.
    fn sleeps(thread: &AtomicI32) -> bool {
        let thread = thread.load(Ordering::SeqCst);
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
        thread != 0 && stat.unwrap().contains(") S ")
    }

    #[test]
    fn wakes_one_of_those_who_wait() {
        let path = env::temp_dir().join(format!("pgskein-epoll-{}", process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let threads: [AtomicI32; 4] = array::from_fn(|_| AtomicI32::new(0));
        let polls: [Poll; 4] = array::from_fn(|_| Poll::new().unwrap());
        let wakers = polls.each_ref().map(|poll| {
            wait_alone(poll.registry(), listener.as_fd(), 7).unwrap();
            Waker::new(poll.registry(), Token(8)).unwrap()
        });
        let wait = |thread: &AtomicI32, mut poll: Poll| {
            let mut events = Events::with_capacity(4);
            // From here on it sleeps nowhere else.
            thread.store(gettid().as_raw(), Ordering::SeqCst);
            poll.poll(&mut events, None).unwrap();
            usize::from(events.iter().any(|event| event.token() == Token(7)))
        };
        let woken: usize = thread::scope(|scope| {
            let waiting: Vec<_> = threads
                .iter()
                .zip(polls)
                .map(|(thread, poll)| scope.spawn(move || wait(thread, poll)))
                .collect();
            while !threads.iter().all(sleeps) {
                thread::yield_now();
            }
            let _client = UnixStream::connect(&path).unwrap();
            wakers.iter().for_each(|waker| waker.wake().unwrap());
            waiting.into_iter().map(|one| one.join().unwrap()).sum()
        });
        fs::remove_file(&path).unwrap();
        assert_eq!(woken, 1);
    }
}
