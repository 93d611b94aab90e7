//! Fields of the formats that cross between processes, written and read.
//!
//! Everything is big-endian. A text or a byte string is a 32-bit length and
//! its bytes; a duration is a 64-bit number of microseconds. Reading never
//! panics: what is not there is [`Truncated`].

use std::time::Duration;

/// Bytes ended before the field did, or a text is not UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Truncated;

/// What is left to read of one body.
#[derive(Debug)]
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl<'a> Octets<'a> {
    /// Takes one byte.
    pub(crate) fn u8(&mut self) -> Result<u8, Truncated> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a 32-bit number.
    pub(crate) fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a 64-bit number.
    pub(crate) fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes a duration.
    pub(crate) fn duration(&mut self) -> Result<Duration, Truncated> {
        self.u64().map(Duration::from_micros)
    }

    /// Takes a counted byte string.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Truncated> {
        let length = self.u32()? as usize;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Takes a counted text.
    pub(crate) fn text(&mut self) -> Result<String, Truncated> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Truncated)
    }

    /// Takes what may not be there.
    pub(crate) fn option<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<T, Truncated>,
    ) -> Result<Option<T>, Truncated> {
        match self.u8()? {
            0 => Ok(None),
            1 => take(self).map(Some),
            _ => Err(Truncated),
        }
    }

    /// Takes a counted list.
    pub(crate) fn list<T, L: FromIterator<T>>(
        &mut self,
        mut take: impl FnMut(&mut Self) -> Result<T, Truncated>,
    ) -> Result<L, Truncated> {
        (0..self.u32()?).map(|_| take(self)).collect()
    }

    /// Takes all that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Takes exactly `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Result<(), Truncated> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Truncated)
        }
    }
}

/// Appends a duration; longer than 584,000 years becomes that.
pub(crate) fn put_duration(out: &mut Vec<u8>, value: Duration) {
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(&micros.to_be_bytes());
}

/// Appends the number of elements of a list.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

/// Appends whether there is something, and what it is.
pub(crate) fn put_option<T>(
    out: &mut Vec<u8>,
    value: Option<T>,
    put: impl FnOnce(&mut Vec<u8>, T),
) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

/// Appends a counted byte string.
///
/// What is over 4 GiB is cut; nothing that crosses a link comes near it.
pub(crate) fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(value.iter().take(length as usize));
}
