//! Capabilities: the one that a dropped supervisor may keep.
//!
//! Source: capabilities(7), capset(2).

use nix::errno::Errno;
use nix::libc;

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
