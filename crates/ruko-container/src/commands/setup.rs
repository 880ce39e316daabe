//! `setup`: id ranges, bridge, packet filter. Doing it again changes nothing but what differs.

use std::fs;
use std::path::Path;

use ruko_core::config::Ipv4Net;
use ruko_core::{Exit, Fault};
use ruko_lxc::net;
use ruko_lxc::{IdRange, System, Tools, idrange};
use ruko_sys::{AtPath, replace};

use crate::addresses::{self, Held};
use crate::settings::Settings;
use crate::{filter, host, slot};

/// Prepares this machine.
pub(crate) fn setup(settings: &Settings) -> Result<Exit, Fault> {
    let _one_at_a_time = filter::lock()?;
    for path in ["/etc/subuid", "/etc/subgid"] {
        grant_ids(Path::new(path), settings.slots)?;
    }
    slot::id_range(settings.slots)?;
    make_bridge(settings, &System)?;
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    fs::write(forward, "1\n").at("write", forward)?;
    filter::load(settings, &System)?;
    Ok(Exit::Ok)
}

/// Adds a range for root where the file gives root none that is long enough.
fn grant_ids(path: &Path, slots: u32) -> Result<(), Fault> {
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.at("read", path)?,
    };
    if let Some(text) = with_range(&text, slots) {
        replace(path, 0o644, text.as_bytes())?;
    }
    Ok(())
}

/// The text with a range for root; `None` where it has one that is long enough.
fn with_range(text: &str, slots: u32) -> Option<String> {
    let ranges = idrange::of_root(text);
    if idrange::shared(&ranges, &ranges, slots).is_some() {
        return None;
    }
    let IdRange { first, count } = idrange::DEFAULT;
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Some(format!("{text}{end}root:{first}:{count}\n"))
}

fn make_bridge(settings: &Settings, tools: &dyn Tools) -> Result<(), Fault> {
    let bridge = settings.bridge.as_str();
    let held = addresses::all(tools)?;
    if let Some(other) = addresses::conflict(&held, bridge, settings.subnet) {
        return Err(taken(settings, other, host::ruleset(&other.interface).exists()));
    }
    let mac = net::mac(settings.gateway);
    let mtu = host::uplink_mtu().to_string();
    if host::mtu(bridge).is_none() {
        // A fixed address: otherwise the bridge takes over that of its newest port, and whatever knew it
        // by the old one waits for seconds.
        tools.run(
            "ip",
            &[
                "link",
                "add",
                bridge,
                "address",
                &mac,
                "type",
                "bridge",
                "stp_state",
                "0",
                "forward_delay",
                "0",
            ],
        )?;
    }
    let wanted = Ipv4Net { address: settings.gateway, prefix: settings.subnet.prefix };
    for old in addresses::outdated(&held, bridge, wanted) {
        tools.run("ip", &["address", "delete", &old.to_string(), "dev", bridge])?;
    }
    let address = wanted.to_string();
    tools.run("ip", &["address", "replace", &address, "dev", bridge])?;
    let ipv6 = format!("/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6");
    if Path::new(&ipv6).exists() {
        fs::write(&ipv6, "1\n").at("write", Path::new(&ipv6))?;
    }
    tools.run("ip", &["link", "set", bridge, "mtu", &mtu, "up"])?;
    // Small pieces from a container are acknowledged at once. sshd sends its handshake in such pieces and
    // waits for each acknowledgement (Nagle's algorithm), which would be delayed by 40 ms each time.
    let network = format!("{}/{}", settings.subnet.network(), settings.subnet.prefix);
    let gateway = settings.gateway.to_string();
    let route = ["route", "replace", &network, "dev", bridge, "proto", "kernel", "scope", "link"];
    tools.run("ip", &[&route[..], &["src", &gateway, "quickack", "1"]].concat())?;
    Ok(())
}

/// Two routes to one network would leave containers without answers.
fn taken(settings: &Settings, other: &Held, made_by_us: bool) -> Fault {
    let Held { interface, address, .. } = other;
    let mend = if made_by_us {
        format!("`ip link delete {interface}` if it was made for an earlier configuration, or ")
    } else {
        String::new()
    };
    Fault::refused(format!(
        "the subnet {} of [container] overlaps {address} of the interface `{interface}`: {mend}\
         choose another `subnet`",
        settings.subnet
    ))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use ruko_sys::ToolError;

    use super::*;
    use crate::settings::tests::settings;

    #[derive(Default)]
    struct Recorder(RefCell<Vec<String>>);

    impl Tools for Recorder {
        fn output(&self, program: &str, args: &[&str]) -> Result<Vec<u8>, ToolError> {
            self.0.borrow_mut().push(format!("{program} {}", args.join(" ")));
            let addresses: &[u8] =
                br#"[{"ifname":"rk-ab12","addr_info":[{"local":"10.1.1.1","prefixlen":24}]}]"#;
            Ok(if args.contains(&"-json") { addresses.to_vec() } else { Vec::new() })
        }
    }

    #[test]
    fn root_gets_a_range_once_and_other_lines_stay() {
        let text = with_range("matt:100000:65536", 4).unwrap();
        assert_eq!(text, "matt:100000:65536\nroot:1000000000:268435456\n");
        assert_eq!(with_range(&text, 4), None);
        assert_eq!(with_range("root:1000000:65536\n", 1), None);
        assert!(with_range("root:1000000:65536\n", 2).is_some());
    }

    #[test]
    fn a_subnet_that_is_taken_is_refused_with_what_to_do() {
        let address = "10.200.7.1/24".parse().unwrap();
        let other = Held { interface: "rk-old".to_owned(), address, peer: None };
        let ours = taken(&settings(), &other, true).message;
        assert!(ours.contains("10.200.7.1/24 of the interface `rk-old`"), "{ours}");
        assert!(ours.contains("`ip link delete rk-old` if it was made for an earlier"), "{ours}");
        assert!(!taken(&settings(), &other, false).message.contains("delete"));
    }

    #[test]
    fn the_bridge_gets_the_first_address_and_a_mac_that_follows_from_it() {
        let tools = Recorder::default();
        make_bridge(&settings(), &tools).unwrap();
        let calls = tools.0.borrow();
        let calls = &calls[1..];
        assert!(
            calls[0].starts_with("ip link add rk-ab12 address 02:00:0a:c8:07:01 type bridge"),
            "{calls:?}"
        );
        assert_eq!(calls[1], "ip address delete 10.1.1.1/24 dev rk-ab12", "of an earlier configuration");
        let calls = &calls[1..];
        assert_eq!(calls[1], "ip address replace 10.200.7.1/24 dev rk-ab12");
        assert!(calls[2].starts_with("ip link set rk-ab12 mtu ") && calls[2].ends_with(" up"));
        assert!(calls[3].starts_with("ip route replace 10.200.7.0/24 dev rk-ab12"), "{calls:?}");
        assert!(calls[3].ends_with("src 10.200.7.1 quickack 1"), "{calls:?}");
    }
}
