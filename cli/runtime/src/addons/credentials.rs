//! Random names and passwords, from the kernel's generator.

use super::error::AddonError;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Fills a buffer with random bytes. Fails where the kernel has no generator.
pub fn random(buffer: &mut [u8]) -> Result<(), AddonError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match getrandom(&mut buffer[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => {
                return Err(AddonError::Random {
                    source: error.into(),
                });
            }
        }
    }
    Ok(())
}

/// A number below `limit`, which is far below 2³²: the skew does not matter for names and ports.
pub(super) fn below(limit: u32) -> Result<u32, AddonError> {
    let mut bytes = [0; 8];
    random(&mut bytes)?;
    let number = u64::from_le_bytes(bytes) % u64::from(limit.max(1));
    Ok(u32::try_from(number).unwrap_or(0))
}

/// A prefix and so many random lower-case letters and digits; nothing in it needs quoting in SQL
/// or escaping in a URL.
pub(super) fn word(prefix: char, length: usize) -> Result<String, AddonError> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = vec![0; length];
    random(&mut bytes)?;
    let letters = bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
    Ok(std::iter::once(prefix).chain(letters).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words_are_random_and_plain() {
        let (first, second) = (word('p', 52).unwrap(), word('p', 52).unwrap());
        assert_ne!(first, second);
        assert_eq!(first.len(), 53);
        assert!(
            first
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }
}
