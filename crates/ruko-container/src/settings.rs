//! The configuration, read once and judged: what passes here cannot be wrong later.

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};

use ruko_core::config::{BuildLimits, Config, DynoLimits, Ipv4Net};
use ruko_core::{Fault, Hint};
use ruko_lxc::net::{self, Bridge};
use ruko_sys::open_trusted;

/// The longest configuration file that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// The most slots: the names of ports have three digits.
const MAX_SLOTS: u32 = 1000;

/// `[container]` and `[build.files]`, judged.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) template_dir: PathBuf,
    pub(crate) hooks_dir: PathBuf,
    pub(crate) buildpacks_dir: PathBuf,
    pub(crate) tools_dir: PathBuf,
    /// The images of slugs; without it there are no dynos.
    pub(crate) slugs_dir: Option<PathBuf>,
    /// The images of stacks; without it there is none but the host's own `/usr`.
    pub(crate) stacks_dir: Option<PathBuf>,
    pub(crate) bridge: Bridge,
    pub(crate) subnet: Ipv4Net,
    /// The host's own address on the bridge.
    pub(crate) gateway: Ipv4Addr,
    pub(crate) allow: Vec<Ipv4Net>,
    pub(crate) slots: u32,
    pub(crate) cpus: f64,
    pub(crate) connections: u32,
    pub(crate) max: BuildLimits,
    pub(crate) dyno_max: DynoLimits,
    pub(crate) reserve_bytes: u64,
    pub(crate) allow_missing_limits: bool,
    /// Path in the container, path on the host.
    pub(crate) files: Vec<(PathBuf, PathBuf)>,
}

impl Settings {
    /// Reads a file that nobody but root can have written. The environment has no say.
    pub(crate) fn load(path: &Path) -> Result<Self, Fault> {
        let mut text = String::new();
        let file = open_trusted(path).map_err(|e| match e.source.kind() {
            io::ErrorKind::NotFound => Fault::refused(format!(
                "there is no configuration at `{}`; name one with --config",
                path.display()
            )),
            _ => e.into(),
        })?;
        file.take(MAX_CONFIG).read_to_string(&mut text).fault(format!("cannot read `{}`", path.display()))?;
        Self::parse(&text).map_err(|why| {
            Fault::refused(format!("the configuration `{}` is not valid: {why}", path.display()))
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config = Config::parse(text, std::iter::empty())?;
        let container = config.container().map_err(|e| e.to_string())?;
        let bridge =
            container.bridge.parse().map_err(|e: net::BadBridge| format!("container.bridge: {e}"))?;
        let subnet = container.subnet;
        let slots = container.slots;
        if slots == 0 || slots > MAX_SLOTS {
            return Err(format!("container.slots: {slots} is not within 1 and {MAX_SLOTS}"));
        }
        if net::address(subnet, slots - 1).is_none() {
            return Err(format!(
                "container.subnet: {subnet} has no {slots} addresses from the {}th on; \
                 make the network larger or container.slots smaller",
                net::FIRST_HOST
            ));
        }
        if !(container.cpus.is_finite() && container.cpus >= 0.01) {
            return Err(format!("container.cpus: {} is not a number of cores", container.cpus));
        }
        let files = config.build.files.iter().map(|(target, source)| judged_file(target, source));
        let slugs_dir = container.slugs_dir.as_deref().map(|dir| absolute("container.slugs_dir", dir));
        let stacks_dir = container.stacks_dir.as_deref().map(|dir| absolute("container.stacks_dir", dir));
        let settings = Self {
            state_dir: absolute("container.state_dir", &container.state_dir)?,
            template_dir: absolute("container.template_dir", &container.template_dir)?,
            hooks_dir: absolute("container.hooks_dir", &container.hooks_dir)?,
            buildpacks_dir: absolute("container.buildpacks_dir", &container.buildpacks_dir)?,
            tools_dir: absolute("container.tools_dir", &container.tools_dir)?,
            slugs_dir: slugs_dir.transpose()?,
            stacks_dir: stacks_dir.transpose()?,
            bridge,
            subnet,
            gateway: subnet.host(1).ok_or("container.subnet has no host")?,
            allow: container.allow.clone(),
            slots,
            cpus: container.cpus,
            connections: container.connections,
            max: container.max,
            dyno_max: container.dyno_max,
            reserve_bytes: container.reserve_bytes,
            allow_missing_limits: container.allow_missing_limits,
            files: files.collect::<Result<_, _>>()?,
        };
        Ok(settings)
    }
}

fn judged_file(target: &Path, source: &Path) -> Result<(PathBuf, PathBuf), String> {
    let target = absolute("build.files", target)?;
    let source = absolute("build.files", source)?;
    if target.parent().is_none() {
        return Err("build.files: `/` cannot be replaced".to_owned());
    }
    Ok((target, source))
}

/// Absolute, without `..`, and of characters that an fstab line and a shell pattern carry unharmed.
fn absolute(key: &str, path: &Path) -> Result<PathBuf, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+@:,=~-".contains(c);
    let ok = path.is_absolute()
        && path.components().all(|part| !matches!(part, Component::ParentDir))
        && path.to_str().is_some_and(|text| text.chars().all(plain));
    if !ok {
        return Err(format!(
            "{key}: `{}` must be an absolute path without `..`, of letters, digits and /._+@:,=~-",
            path.display()
        ));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const GOOD: &str = "[container]\nstate_dir = '/var/lib/openruko/containers'\ntemplate_dir = '/t'\n\
        hooks_dir = '/h'\nbuildpacks_dir = '/b'\ntools_dir = '/o'\nbridge = 'rk-ab12'\n\
        subnet = '10.200.7.0/24'\nslots = 4\n";

    pub(crate) fn settings() -> Settings {
        Settings::parse(GOOD).unwrap()
    }

    #[test]
    fn a_missing_file_is_said_to_be_missing() {
        let fault = Settings::load(Path::new("/nowhere/openruko.toml")).unwrap_err();
        let expected = "there is no configuration at `/nowhere/openruko.toml`; name one with --config";
        assert_eq!(fault.message, expected);
    }

    fn with(replaced: &str, by: &str) -> String {
        assert!(GOOD.contains(replaced));
        Settings::parse(&GOOD.replace(replaced, by)).unwrap_err()
    }

    #[test]
    fn the_host_has_the_first_address_whatever_the_subnet_is_written_as() {
        assert_eq!(settings().gateway.to_string(), "10.200.7.1");
        let other = Settings::parse(&GOOD.replace("10.200.7.0/24", "10.200.7.77/24")).unwrap();
        assert_eq!(other.gateway.to_string(), "10.200.7.1");
    }

    #[test]
    fn what_could_not_work_is_refused_with_its_key() {
        assert!(with("rk-ab12", "bridge too long").contains("container.bridge"));
        assert!(with("slots = 4", "slots = 0").contains("container.slots"));
        assert!(with("slots = 4", "slots = 300").contains("container.subnet"));
        assert!(with("slots = 4", "cpus = -1.0").contains("container.cpus"));
        assert!(with("'/h'", "'h'").contains("container.hooks_dir"));
        assert!(with("'/h'", "'/a/../h'").contains("container.hooks_dir"));
        assert!(with("'/h'", "'/a b'").contains("container.hooks_dir"));
    }

    #[test]
    fn files_are_judged_on_both_sides() {
        let files = |pair: &str| Settings::parse(&format!("{GOOD}[build.files]\n{pair}\n"));
        assert_eq!(files("'/app/.npmrc' = '/etc/openruko/npmrc'").unwrap().files.len(), 1);
        for bad in ["'/' = '/x'", "'app' = '/x'", "'/app/../usr' = '/x'", "'/a' = 'x'", "'/a' = '/x/../y'"] {
            assert!(files(bad).is_err(), "{bad}");
        }
    }
}
