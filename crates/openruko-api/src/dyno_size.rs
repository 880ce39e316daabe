//! Sizes of dynos: Heroku's names (<https://devcenter.heroku.com/articles/dyno-types>), so that a `ps:type`
//! that worked there works here, and its memory. Nothing is billed. The configuration may give others.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ruko_api_types::host::SizeToRun;
use ruko_core::config::DynoSizeConfig;

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

    /// Processes and threads. By these very numbers Heroku's Ruby buildpack knows the size of a dyno, which it asks
    /// for with `ulimit -u` (<https://github.com/heroku/heroku-buildpack-ruby>: `WEB_CONCURRENCY.sh`).
    const fn pids(self) -> u64 {
        match self {
            Self::Eco | Self::Basic | Self::Standard1X => 256,
            Self::Standard2X => 512,
            Self::PerformanceM => 16_384,
            Self::PerformanceL | Self::PerformanceLRam | Self::PerformanceXL | Self::Performance2XL => 32_768,
        }
    }
}

/// The least memory that a program runs with, in bytes, and more than any machine has.
const MEMORY: std::ops::RangeInclusive<u64> = (16 << 20)..=(1 << 46);

/// The least processes that a shell and a program need, and more than a kernel counts.
const PIDS: std::ops::RangeInclusive<u64> = 8..=(1 << 22);

/// What dynos of each size get.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sizes(BTreeMap<&'static str, DynoSizeConfig>);

impl Sizes {
    fn configured(&self, size: DynoSize) -> DynoSizeConfig {
        self.0.get(size.as_str()).copied().unwrap_or_default()
    }

    /// The most memory that a dyno of this size may have, in bytes.
    pub(crate) fn memory_bytes(&self, size: DynoSize) -> u64 {
        self.configured(size).memory_bytes.unwrap_or(u64::from(size.memory()) << 20)
    }

    /// As the host is told.
    pub(crate) fn to_run(&self, size: DynoSize) -> SizeToRun {
        SizeToRun {
            name: size.to_string(),
            memory_bytes: self.memory_bytes(size),
            shares: size.shares(),
            pids: self.configured(size).pids.unwrap_or(size.pids()),
        }
    }
}

impl TryFrom<&BTreeMap<String, DynoSizeConfig>> for Sizes {
    type Error = String;

    fn try_from(config: &BTreeMap<String, DynoSizeConfig>) -> Result<Self, String> {
        let mut sizes = BTreeMap::new();
        for (name, given) in config {
            let size: DynoSize = name.parse().map_err(|_| {
                let names = DynoSize::ALL.map(DynoSize::as_str).join(", ");
                format!("names `{}`, which is no size: there are {names}", name.escape_debug())
            })?;
            if given.memory_bytes.is_some_and(|bytes| !MEMORY.contains(&bytes)) {
                return Err(format!("must give {size} from {} to {} bytes", MEMORY.start(), MEMORY.end()));
            }
            if given.pids.is_some_and(|pids| !PIDS.contains(&pids)) {
                return Err(format!("must give {size} from {} to {} pids", PIDS.start(), PIDS.end()));
            }
            if sizes.insert(size.as_str(), *given).is_some() {
                return Err(format!("must not name {size} twice"));
            }
        }
        Ok(Self(sizes))
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
            assert!(pair[0].pids() <= pair[1].pids());
            assert!(pair[0].memory() <= pair[1].memory() && pair[0].shares() >= 1, "{pair:?}");
        }
    }

    #[test]
    fn the_configuration_may_give_a_size_something_else() {
        let sizes = |name: &str, memory_bytes, pids| {
            Sizes::try_from(&[(name.to_owned(), DynoSizeConfig { memory_bytes, pids })].into())
        };
        let small = sizes("basic", Some(64 << 20), None).unwrap();
        let (basic, eco) = (small.to_run(DynoSize::Basic), small.to_run(DynoSize::Eco));
        assert_eq!((basic.memory_bytes, basic.pids), (64 << 20, 256));
        assert_eq!((eco.memory_bytes, eco.pids, eco.name.as_str()), (512 << 20, 256, "Eco"));
        assert!(sizes("huge", None, None).unwrap_err().contains("Standard-1X"));
        assert!(sizes("eco", Some(1), None).is_err() && sizes("eco", None, Some(1)).is_err());
    }
}
