//! Numbers as digits, without the machinery of formatting: some are written for every request.

/// The digits of a number, least first; the text is in [`Digits::as_str`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl From<u64> for Digits {
    fn from(mut number: u64) -> Self {
        let (mut bytes, mut start) = ([b'0'; 20], 20);
        loop {
            start -= 1;
            bytes[start] = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            if number == 0 {
                return Self { bytes, start };
            }
        }
    }
}

impl Digits {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_they_are() {
        for number in [0, 1, 9, 10, 200, 65535, 1_700_000_000_123, u64::MAX] {
            assert_eq!(Digits::from(number).as_str(), number.to_string());
        }
    }
}
