//! Sizes of dynos: Heroku's names (<https://devcenter.heroku.com/articles/dyno-types>), so that a `ps:type`
//! that worked there works here, and its memory. Nothing is billed.

use std::fmt;
use std::str::FromStr;

/// A size that a dyno can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DynoSize {
    Eco,
    Basic,
    Standard1X,
    Standard2X,
    PerformanceM,
    PerformanceL,
    PerformanceLRam,
    PerformanceXL,
    Performance2XL,
}

/// A share of the processor comes with so much memory, in MiB.
const MIB_PER_SHARE: u32 = 512;

impl DynoSize {
    /// The smallest first.
    pub(crate) const ALL: [Self; 9] = [
        Self::Eco,
        Self::Basic,
        Self::Standard1X,
        Self::Standard2X,
        Self::PerformanceM,
        Self::PerformanceL,
        Self::PerformanceLRam,
        Self::PerformanceXL,
        Self::Performance2XL,
    ];

    /// What a dyno has as long as nobody says otherwise: what Heroku gives to a new app.
    pub(crate) const USUAL: Self = Self::Basic;

    /// As it is shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Eco => "Eco",
            Self::Basic => "Basic",
            Self::Standard1X => "Standard-1X",
            Self::Standard2X => "Standard-2X",
            Self::PerformanceM => "Performance-M",
            Self::PerformanceL => "Performance-L",
            Self::PerformanceLRam => "Performance-L-RAM",
            Self::PerformanceXL => "Performance-XL",
            Self::Performance2XL => "Performance-2XL",
        }
    }

    /// The most memory that a dyno of this size may have, in MiB.
    pub(crate) const fn memory(self) -> u32 {
        match self {
            Self::Eco | Self::Basic | Self::Standard1X => 512,
            Self::Standard2X => 1 << 10,
            Self::PerformanceM => (5 << 10) / 2,
            Self::PerformanceL => 14 << 10,
            Self::PerformanceLRam => 30 << 10,
            Self::PerformanceXL => 62 << 10,
            Self::Performance2XL => 126 << 10,
        }
    }

    /// Shares of the processor: as the memory.
    pub(crate) const fn shares(self) -> u32 {
        self.memory() / MIB_PER_SHARE
    }
}

impl fmt::Display for DynoSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no [`DynoSize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such dyno size")]
pub(crate) struct BadDynoSize;

impl FromStr for DynoSize {
    type Err = BadDynoSize;

    /// In any case of letters: the CLI sends what its user typed.
    fn from_str(raw: &str) -> Result<Self, BadDynoSize> {
        Self::ALL.into_iter().find(|size| size.as_str().eq_ignore_ascii_case(raw)).ok_or(BadDynoSize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_however_they_are_written() {
        for (raw, size) in [
            ("standard-2x", DynoSize::Standard2X),
            ("Standard-2X", DynoSize::Standard2X),
            ("BASIC", DynoSize::Basic),
            ("performance-l-ram", DynoSize::PerformanceLRam),
        ] {
            assert_eq!(raw.parse(), Ok(size));
        }
        assert_eq!("huge".parse::<DynoSize>(), Err(BadDynoSize));
        for pair in DynoSize::ALL.windows(2) {
            assert!(pair[0].memory() <= pair[1].memory() && pair[0].shares() >= 1, "{pair:?}");
        }
    }
}
