//! What containers take over from the host.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ruko_lxc::net::nameservers;

/// Where the host's name servers are written down.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where systemd-resolved writes down the servers behind its own address on the loopback interface.
const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

/// The file that names servers which a container can reach, with those servers: one on the host's
/// loopback interface is none.
pub(crate) fn resolv_conf() -> (PathBuf, Vec<Ipv4Addr>) {
    let read = |path: &str| nameservers(&fs::read_to_string(path).unwrap_or_default());
    let own = read(RESOLV_CONF);
    if own.iter().all(Ipv4Addr::is_loopback) && Path::new(UPSTREAM).exists() {
        return (UPSTREAM.into(), read(UPSTREAM));
    }
    (RESOLV_CONF.into(), own)
}

/// Where `setup` writes down the packet filter of a bridge.
pub(crate) fn ruleset(bridge: &str) -> PathBuf {
    PathBuf::from(format!("/run/openruko/{bridge}.nft"))
}

/// The largest packet of the device of the default route; 1500 where there is none.
pub(crate) fn uplink_mtu() -> u32 {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    default_device(&routes).and_then(mtu).unwrap_or(1500)
}

/// The largest packet of a network device.
pub(crate) fn mtu(device: &str) -> Option<u32> {
    let path = Path::new("/sys/class/net").join(device).join("mtu");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The device of the line with destination and mask 0 in `/proc/net/route`.
fn default_device(routes: &str) -> Option<&str> {
    routes.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        is_default.then(|| fields[0])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_the_one_to_everywhere() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            rk0\t0007C80A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(default_device(routes), Some("eth0"));
        assert_eq!(default_device("Iface\n"), None);
    }
}
