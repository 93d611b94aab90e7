//! The names of addresses.

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};

use nix::libc;
use socket2::SockAddr;

/// The name that an address has in the directories of the system, if it has
/// one. May take long.
///
/// Source: getnameinfo(3).
pub(crate) fn name_of(address: IpAddr) -> Option<String> {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    let mut name = [0_u8; NAME_MAX];
    // SAFETY: the library reads `address.len()` bytes behind the one pointer and
    // writes at most `NAME_LEN` behind the other; both live until the call
    // returns. It was asked for no name of a service.
    let result = unsafe {
        libc::getnameinfo(
            address.as_ptr().cast(),
            address.len(),
            name.as_mut_ptr().cast(),
            NAME_LEN,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if result != 0 {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
    // Whoever owns the address may have said that its name is an address.
    let is_name = !name.is_empty() && name.parse::<IpAddr>().is_err();
    is_name.then(|| name.to_owned())
}

/// The longest name with its NUL, as in `NI_MAXHOST`, in bytes.
const NAME_MAX: usize = 1025;
const NAME_LEN: libc::socklen_t = 1025;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_no_name_of_an_address_that_nobody_has() {
        // 0.0.0.0/8 stands for this host on this network: RFC 1122, section 3.2.1.3.
        assert_eq!(name_of("0.0.0.1".parse().unwrap()), None);
    }
}
