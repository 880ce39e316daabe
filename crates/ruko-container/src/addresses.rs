//! The IPv4 addresses of this machine, as `ip -4 -json address` shows them.

use std::net::Ipv4Addr;

use ruko_core::Fault;
use ruko_core::config::Ipv4Net;
use ruko_lxc::Tools;
use serde::Deserialize;

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) interface: String,
    pub(crate) address: Ipv4Net,
    /// The other end of a point-to-point link: the route leads there.
    pub(crate) peer: Option<Ipv4Net>,
}

/// An interface. Some versions print `{}` for one without such an address.
#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    local: Option<Ipv4Addr>,
    address: Option<Ipv4Addr>,
    prefixlen: u8,
}

/// Every IPv4 address of this machine.
pub(crate) fn all(tools: &dyn Tools) -> Result<Vec<Held>, Fault> {
    let json = tools.output("ip", &["-4", "-json", "address"])?;
    serde_json::from_slice(&json)
        .map(parse)
        .map_err(|e| Fault::refused(format!("cannot understand what `ip -4 -json address` says: {e}")))
}

fn parse(interfaces: Vec<Interface>) -> Vec<Held> {
    let of = |interface: Interface| {
        let held = move |info: Info| {
            let net = |address| Ipv4Net { address, prefix: info.prefixlen.min(32) };
            let (interface, peer) = (interface.ifname.clone(), info.address.map(net));
            Some(Held { interface, address: net(info.local?), peer })
        };
        interface.addr_info.into_iter().filter_map(held)
    };
    interfaces.into_iter().flat_map(of).collect()
}

/// The first address of another interface whose network overlaps the subnet of our bridge.
pub(crate) fn conflict<'a>(held: &'a [Held], bridge: &str, subnet: Ipv4Net) -> Option<&'a Held> {
    let overlaps = |held: &Held| overlap(held.peer.unwrap_or(held.address), subnet);
    held.iter().find(|held| held.interface != bridge && overlaps(held))
}

/// The addresses of our bridge other than the one it should have.
pub(crate) fn outdated<'a>(
    held: &'a [Held],
    bridge: &'a str,
    wanted: Ipv4Net,
) -> impl Iterator<Item = Ipv4Net> + 'a {
    held.iter()
        .filter(move |held| held.interface == bridge && held.address != wanted)
        .map(|held| held.address)
}

/// Networks overlap where the larger one has the other's address.
fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    let prefix = one.prefix.min(other.prefix);
    let shortened = |net: Ipv4Net| Ipv4Net { address: net.address, prefix }.network();
    shortened(one) == shortened(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Vec<Held> {
        let json = r#"[{},{"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}]},
            {"ifname":"rk-ab12","addr_info":[{"local":"10.200.7.1","prefixlen":24},
                {"local":"10.200.9.1","prefixlen":24}]},
            {"ifname":"vpn","addr_info":[{"local":"10.8.0.1","address":"10.9.0.2","prefixlen":32}]}]"#;
        parse(serde_json::from_str(json).unwrap())
    }

    fn conflict_with(bridge: &str, subnet: &str) -> Option<String> {
        let held = held();
        conflict(&held, bridge, subnet.parse().unwrap())
            .map(|held| format!("{} {}", held.interface, held.address))
    }

    #[test]
    fn a_network_that_another_interface_has_is_found_whichever_is_larger() {
        let taken = Some("rk-ab12 10.200.7.1/24".to_owned());
        assert_eq!(conflict_with("rk-new", "10.200.7.0/24"), taken);
        assert_eq!(conflict_with("rk-new", "10.200.7.128/26"), taken);
        assert_eq!(conflict_with("rk-new", "10.200.0.0/16"), taken);
        assert_eq!(conflict_with("rk-new", "10.200.8.0/24"), None);
        assert_eq!(conflict_with("rk-ab12", "10.200.7.0/24"), None, "its own is no other");
        assert_eq!(conflict_with("rk-new", "10.9.0.0/24"), Some("vpn 10.8.0.1/32".to_owned()));
    }

    #[test]
    fn what_the_bridge_had_before_is_outdated() {
        let held = held();
        let wanted = "10.200.7.1/24".parse().unwrap();
        let old: Vec<_> = outdated(&held, "rk-ab12", wanted).map(|net| net.to_string()).collect();
        assert_eq!(old, ["10.200.9.1/24"]);
    }
}
