//! The network of the containers: names, addresses and the packet filter of the bridge.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ruko_core::config::Ipv4Net;

/// The host part of the first container's address; those below it are the bridge's and spare.
pub const FIRST_HOST: u32 = 10;

/// The name of a bridge: also the name of its packet filter tables and the beginning of the names of its
/// ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge(String);

/// A name that cannot be a bridge's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a bridge name: 1 to 11 lower-case letters, digits and dashes, beginning with a letter",
    .0.escape_debug()
)]
pub struct BadBridge(String);

impl FromStr for Bridge {
    type Err = BadBridge;

    fn from_str(raw: &str) -> Result<Self, BadBridge> {
        let bytes = raw.as_bytes();
        // With `-` and a slot of three digits it must fit the kernel's 15 characters.
        let ok = (1..=11).contains(&bytes.len())
            && bytes[0].is_ascii_lowercase()
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if ok { Ok(Self(raw.to_owned())) } else { Err(BadBridge(raw.to_owned())) }
    }
}

impl Bridge {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host's end of the cable of the container in a slot.
    pub fn port(&self, slot: u32) -> String {
        format!("{}-{slot:03}", self.0)
    }
}

/// A MAC address that follows from the IPv4 address, locally administered (IEEE 802: second bit of the
/// first byte): an address that is used again then never meets a stale neighbour entry, which cost
/// seconds when addresses were random.
pub fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The address of the container in a slot; `None` when the network is too small.
pub fn address(subnet: Ipv4Net, slot: u32) -> Option<Ipv4Addr> {
    let host = FIRST_HOST.checked_add(slot)?;
    // The last address of a network is its broadcast address.
    subnet.host(host + 1)?;
    subnet.host(host)
}

/// Destinations that no container reaches unless the configuration allows it: everything that the IANA
/// registry of special-purpose addresses (RFC 6890) does not call global, save the three documentation
/// networks, which private networks do use.
const CLOSED: [&str; 10] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
];

/// What the packet filter of a bridge needs to know.
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    /// The bridge.
    pub bridge: &'a Bridge,
    /// Its network.
    pub subnet: Ipv4Net,
    /// Closed destinations that are open all the same.
    pub allow: &'a [Ipv4Net],
    /// The name servers in the containers' resolv.conf.
    pub nameservers: &'a [Ipv4Addr],
    /// How many containers there may be.
    pub slots: u32,
    /// Connections of one container to elsewhere at a time; 0: without a bound. Look-ups of names count apart, up to
    /// four times as many: the kernel remembers each for half a minute.
    pub connections: u32,
    /// The users of this machine, besides root, who may open connections to containers.
    pub callers: &'a [u32],
}

impl Filter<'_> {
    /// The input of `nft -f`, which replaces both tables of the bridge in one transaction.
    ///
    /// Table `inet`: containers reach the internet and what is allowed, by a bounded number of connections, not the host,
    /// not private networks; from the host only root and the callers reach them. Table `bridge`: a container speaks as itself or not at all, and no container reaches
    /// another. This kernel may lack `meta ibrname`, hence the names of the ports.
    pub fn ruleset(&self) -> String {
        let mut text = String::new();
        for family in ["inet", "bridge"] {
            // Declared before it is deleted, so that a first time is no error.
            let _ = writeln!(text, "table {family} {0}\ndelete table {family} {0}", self.bridge.0);
        }
        self.inet(&mut text);
        self.ports(&mut text);
        text
    }

    fn inet(&self, text: &mut String) {
        let bridge = &self.bridge.0;
        let subnet = Ipv4Net { address: self.subnet.network(), prefix: self.subnet.prefix };
        let allow =
            accept(self.allow.iter().map(|net| Ipv4Net { address: net.network(), prefix: net.prefix }));
        let source = source_rule(self.subnet);
        let names = self.nameserver_rule();
        let sets = self.counting_set("flows") + &self.counting_set("lookups");
        let bound = match self.bound("flows", 1).as_str() {
            "" => String::new(),
            bound => format!("\t\t{bound}\n"),
        };
        let closed = CLOSED.join(", ");
        let callers: String = self.callers.iter().map(|user| format!(", {user}")).collect();
        let _ = write!(
            text,
            "table inet {bridge} {{
{sets}\tchain input {{
\t\ttype filter hook input priority filter; policy accept;
\t\tiifname != \"{bridge}\" accept
\t\tct state established,related accept
{names}\t\tdrop
\t}}
\tchain output {{
\t\ttype filter hook output priority filter; policy accept;
\t\toifname != \"{bridge}\" accept
\t\tct state established,related accept
\t\tmeta skuid != {{ 0{callers} }} drop
\t}}
\tchain forward {{
\t\ttype filter hook forward priority filter; policy accept;
\t\toifname \"{bridge}\" ct state established,related accept
\t\toifname \"{bridge}\" drop
\t\tiifname != \"{bridge}\" accept
\t\t{source}
\t\tmeta nfproto != ipv4 drop
\t\tct state established,related accept
{names}{bound}{allow}\t\tip daddr {{ {closed} }} drop
\t\taccept
\t}}
\tchain postrouting {{
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tip saddr {subnet} oifname != \"{bridge}\" masquerade
\t}}
}}
"
        );
    }

    fn counting_set(&self, name: &str) -> String {
        if self.connections == 0 {
            return String::new();
        }
        format!("\tset {name} {{\n\t\ttype ipv4_addr\n\t\tsize 1024\n\t\tflags dynamic\n\t}}\n")
    }

    /// Has such a set count what comes so far, and drops what is too much.
    fn bound(&self, set: &str, times: u32) -> String {
        match self.connections.saturating_mul(times) {
            0 => String::new(),
            most => format!("add @{set} {{ ip saddr ct count over {most} }} drop"),
        }
    }

    fn nameserver_rule(&self) -> String {
        let servers: Vec<String> = self.nameservers.iter().map(Ipv4Addr::to_string).collect();
        if servers.is_empty() {
            return String::new();
        }
        let lookup =
            format!("\t\tip daddr {{ {} }} meta l4proto {{ tcp, udp }} th dport 53", servers.join(", "));
        match self.bound("lookups", 4).as_str() {
            "" => format!("{lookup} accept\n"),
            bound => format!("{lookup} {bound}\n{lookup} accept\n"),
        }
    }

    fn ports(&self, text: &mut String) {
        let bridge = &self.bridge.0;
        let port = |slot| {
            let address = address(self.subnet, slot)?;
            Some(format!("\"{}\" . {} . {address}", self.bridge.port(slot), mac(address)))
        };
        let ports: Vec<String> = (0..self.slots).map_while(port).collect();
        let _ = write!(
            text,
            "table bridge {bridge} {{
\tset ports {{
\t\ttypeof iifname . ether saddr . ip saddr
\t\telements = {{ {} }}
\t}}
\tchain prerouting {{
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tiifname != \"{bridge}-*\" accept
\t\tether type ip iifname . ether saddr . ip saddr @ports accept
\t\tether type arp iifname . ether saddr . arp saddr ip @ports accept
\t\tdrop
\t}}
\tchain forward {{
\t\ttype filter hook forward priority 0; policy accept;
\t\tiifname \"{bridge}-*\" drop
\t}}
}}
",
            ports.join(",\n\t\t\t")
        );
    }
}

/// Whether a text of [`Filter::ruleset`] is that of a bridge of this network.
pub fn is_of_subnet(ruleset: &str, subnet: Ipv4Net) -> bool {
    let line = source_rule(subnet);
    ruleset.lines().any(|found| found.trim() == line)
}

/// Containers have no other addresses.
fn source_rule(subnet: Ipv4Net) -> String {
    let subnet = Ipv4Net { address: subnet.network(), prefix: subnet.prefix };
    format!("ip saddr != {subnet} drop")
}

/// One rule that accepts these destinations. Networks may overlap, which one set could not hold.
fn accept(nets: impl Iterator<Item = Ipv4Net>) -> String {
    nets.map(|net| format!("\t\tip daddr {net} accept\n")).collect()
}

/// The IPv4 name servers in the text of a resolv.conf (`resolv.conf(5)`), at most the three that the C
/// library uses.
pub fn nameservers(resolv_conf: &str) -> Vec<Ipv4Addr> {
    let server = |line: &str| line.trim().strip_prefix("nameserver")?.trim().parse().ok();
    resolv_conf.lines().filter_map(server).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(allow: &[Ipv4Net], nameservers: &[Ipv4Addr]) -> String {
        let bridge: Bridge = "rk-ab12".parse().unwrap();
        let subnet = "10.200.7.1/24".parse().unwrap();
        Filter { bridge: &bridge, subnet, allow, nameservers, slots: 2, connections: 7, callers: &[998, 997] }
            .ruleset()
    }

    /// The lines of one chain, trimmed.
    fn chain<'a>(ruleset: &'a str, name: &str) -> Vec<&'a str> {
        let start = ruleset.find(&format!("chain {name} {{")).unwrap();
        ruleset[start..].lines().skip(1).map(str::trim).take_while(|line| *line != "}").collect()
    }

    #[test]
    fn names_that_are_options_paths_or_too_long_are_no_bridges() {
        for bad in ["", "-x", "1a", "a b", "a/b", "a\"b", "A", "abcdefghijkl"] {
            assert!(bad.parse::<Bridge>().is_err(), "{bad:?}");
        }
        let bridge: Bridge = "abcdefghijk".parse().unwrap();
        assert!(bridge.port(999).len() <= 15);
    }

    #[test]
    fn addresses_and_macs_follow_from_the_slot() {
        let subnet = "10.200.7.0/24".parse().unwrap();
        assert_eq!(address(subnet, 0).unwrap().to_string(), "10.200.7.10");
        assert_eq!(address(subnet, 244).unwrap().to_string(), "10.200.7.254");
        assert_eq!(address(subnet, 245), None, "the broadcast address is nobody's");
        assert_eq!(mac("10.200.7.10".parse().unwrap()), "02:00:0a:c8:07:0a");
    }

    #[test]
    fn the_host_answers_containers_only_what_it_asked_or_as_a_name_server() {
        let ruleset = filter(&[], &["192.0.2.53".parse().unwrap()]);
        let input = chain(&ruleset, "input");
        assert_eq!(
            input[1..],
            [
                "iifname != \"rk-ab12\" accept",
                "ct state established,related accept",
                "ip daddr { 192.0.2.53 } meta l4proto { tcp, udp } th dport 53 add @lookups { ip saddr ct count over 28 } \
                 drop",
                "ip daddr { 192.0.2.53 } meta l4proto { tcp, udp } th dport 53 accept",
                "drop",
            ]
        );
    }

    #[test]
    fn only_root_and_the_callers_open_connections_to_containers() {
        let output = filter(&[], &[]);
        // What no user has sent, such as the kernel's own answers, has no user to be compared.
        assert_eq!(
            chain(&output, "output")[1..],
            [
                "oifname != \"rk-ab12\" accept",
                "ct state established,related accept",
                "meta skuid != { 0, 998, 997 } drop",
            ]
        );
    }

    #[test]
    fn what_is_allowed_comes_before_what_is_closed() {
        let ruleset = filter(&["10.1.2.3".parse().unwrap(), "10.9.0.5/16".parse().unwrap()], &[]);
        let forward = chain(&ruleset, "forward");
        let at = |needle: &str| forward.iter().position(|line| line.contains(needle)).unwrap();
        assert!(at("ip daddr 10.1.2.3/32 accept") < at("169.254.0.0/16"));
        assert!(at("ip daddr 10.9.0.0/16 accept") < at("10.0.0.0/8"));
        assert!(at("ip saddr != 10.200.7.0/24 drop") < at("10.1.2.3"));
        assert_eq!(forward.last(), Some(&"accept"));
        assert!(is_of_subnet(&ruleset, "10.200.7.0/24".parse().unwrap()));
        assert!(!is_of_subnet(&ruleset, "10.200.7.0/25".parse().unwrap()));
    }

    #[test]
    fn connections_and_lookups_are_counted_before_they_are_accepted_unless_there_is_no_bound() {
        let ruleset = filter(&[], &["192.0.2.53".parse().unwrap()]);
        let forward = chain(&ruleset, "forward");
        let at = |needle: &str| forward.iter().position(|line| line.contains(needle)).unwrap();
        let (lookups, bound) = (at("add @lookups"), at("add @flows { ip saddr ct count over 7 } drop"));
        // What is open is not counted anew.
        assert_eq!(forward[lookups - 1], "ct state established,related accept");
        assert!(forward[lookups + 1].ends_with("th dport 53 accept") && bound == lookups + 2);
        assert!(bound < at("ip daddr { 0.0.0.0/8"));
        let bridge: Bridge = "rk-ab12".parse().unwrap();
        let subnet = "10.200.7.1/24".parse().unwrap();
        let unbound = Filter {
            bridge: &bridge,
            subnet,
            allow: &[],
            nameservers: &["192.0.2.53".parse().unwrap()],
            slots: 2,
            connections: 0,
            callers: &[],
        };
        assert!(!unbound.ruleset().contains("ct count") && !unbound.ruleset().contains("dynamic"));
    }

    #[test]
    fn every_port_may_speak_as_itself_only() {
        let ruleset = filter(&[], &[]);
        assert!(ruleset.contains("\"rk-ab12-000\" . 02:00:0a:c8:07:0a . 10.200.7.10"));
        assert!(ruleset.contains("\"rk-ab12-001\" . 02:00:0a:c8:07:0b . 10.200.7.11"));
        assert!(!ruleset.contains("rk-ab12-002"));
        assert!(ruleset.starts_with("table inet rk-ab12\ndelete table inet rk-ab12\ntable bridge rk-ab12\n"));
    }

    #[test]
    fn name_servers_are_found_among_other_lines() {
        let text =
            "# nameserver 1.1.1.1\nsearch a\nnameserver 10.0.0.1\nnameserver fe80::1\n nameserver\t9.9.9.9\n";
        assert_eq!(nameservers(text), [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(9, 9, 9, 9)]);
    }
}
