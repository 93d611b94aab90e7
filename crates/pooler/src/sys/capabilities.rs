//! Capabilities: the one that a dropped supervisor may keep.
//!
//! Source: capabilities(7), capset(2).

use nix::errno::Errno;
use nix::libc;
use nix::unistd::geteuid;

/// Keeps of all capabilities `CAP_NET_BIND_SERVICE` or none.
///
/// # Errors
///
/// The error of `capset(2)`.
pub(crate) fn keep(net_bind_service: bool) -> nix::Result<()> {
    let low = u32::from(net_bind_service) << NET_BIND_SERVICE;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let data = [
        Data {
            effective: low,
            permitted: low,
            inheritable: 0,
        },
        Data::default(),
    ];
    // SAFETY: the kernel reads one header and, for version 3, two elements of
    // data; both live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(result).map(|_| ())
}

/// Has another program that this process executes keep the same capabilities,
/// until that calls [`keep`].
///
/// # Errors
///
/// The error of `capget(2)`, `capset(2)` or `prctl(2)`.
///
/// Source: capabilities(7), "Transformation of capabilities during execve()".
pub(crate) fn pass_on() -> nix::Result<()> {
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(), Data::default()];
    // SAFETY: the kernel reads one header and, for version 3, writes two
    // elements of data; both live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    Errno::result(result)?;
    let [low, _] = &mut data;
    let bit = 1 << NET_BIND_SERVICE;
    if low.permitted & bit == 0 || geteuid().is_root() {
        return Ok(());
    }
    low.inheritable |= bit;
    // SAFETY: as in [`keep`].
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(result)?;
    ambient(RAISE).map(|_| ())
}

/// Whether the capability came with this program, by [`pass_on`] of another
/// one.
///
/// # Errors
///
/// The error of `prctl(2)`.
pub(crate) fn were_passed_on() -> nix::Result<bool> {
    ambient(IS_SET).map(|is_set| is_set == 1)
}

/// Does something with the capability in the set that execution keeps.
fn ambient(operation: libc::c_ulong) -> nix::Result<libc::c_int> {
    let capability = libc::c_ulong::from(NET_BIND_SERVICE);
    // As wide as the kernel reads it: a variadic argument is not widened.
    let unused: libc::c_ulong = 0;
    // SAFETY: all arguments are numbers as wide as the kernel reads them, and
    // those that are not used are 0.
    let result =
        unsafe { libc::prctl(libc::PR_CAP_AMBIENT, operation, capability, unused, unused) };
    Errno::result(result)
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;
const NET_BIND_SERVICE: u32 = 10;

/// `PR_CAP_AMBIENT_IS_SET` and `PR_CAP_AMBIENT_RAISE`.
const IS_SET: libc::c_ulong = 1;
const RAISE: libc::c_ulong = 2;
