//! Whose address a request came from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::HeaderMap;
use ruko_core::config::Ipv4Net;

/// What a proxy adds: the address of its own client, at the end of the list.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client: of the connection's other end, or, where that is a trusted proxy, what the
/// proxy says. In the extensions of every request that [`crate::serve`] hands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// A trusted proxy is believed about its client. Where that is a trusted proxy as well, so is it; what
    /// stands further to the left may be the client's own invention.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[Ipv4Net]) -> Self {
        let peer = peer.to_canonical();
        let mut client = peer;
        if is_trusted(peer, trusted) {
            let lists: Vec<&str> =
                headers.get_all(FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
            for said in lists.iter().rev().flat_map(|list| list.rsplit(',')) {
                let Ok(address) = said.trim().parse::<IpAddr>() else { break };
                client = address.to_canonical();
                if !is_trusted(client, trusted) {
                    break;
                }
            }
        }
        Self(client)
    }
}

/// What counts as one place on the network: an IPv4 address, and a whole network of IPv6, since whoever has one
/// address of it has all. An IPv4 address in the form of IPv6 is itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
    }
}

/// Whether an address is that of a proxy which is believed.
pub fn is_trusted(address: IpAddr, trusted: &[Ipv4Net]) -> bool {
    let inside = |address: Ipv4Addr| trusted.iter().any(|net| net.contains(address));
    matches!(address, IpAddr::V4(address) if inside(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let trusted = ["127.0.0.1", "10.0.0.0/8"].map(|net| net.parse().unwrap());
        let mut headers = HeaderMap::new();
        for list in forwarded {
            headers.append(FORWARDED_FOR, list.parse().unwrap());
        }
        ClientAddress::of(peer.parse().unwrap(), &headers, &trusted).0.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("::1", &["198.51.100.1"]), "::1");
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:127.0.0.1", &["2001:db8::7"]), "2001:db8::7");
    }

    #[test]
    fn what_a_client_invents_is_not_believed() {
        assert_eq!(client("127.0.0.1", &["192.0.2.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("127.0.0.1", &["192.0.2.1", "198.51.100.1, 10.1.2.3"]), "198.51.100.1");
        assert_eq!(client("127.0.0.1", &["192.0.2.1, nonsense, 10.1.2.3"]), "10.1.2.3");
        assert_eq!(client("127.0.0.1", &["nonsense"]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["10.9.9.9"]), "10.9.9.9");
    }
}
