//! The kernel's packet filter, asked over netlink: a few microseconds, where a program would take milliseconds.

use std::io;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use rustix::net::{recv, send, socket_with};

/// Families of tables (`NFPROTO_INET` and `NFPROTO_BRIDGE`, linux/netfilter.h).
const INET: u8 = 1;
const BRIDGE: u8 = 7;

/// `NFT_MSG_GETTABLE` of the subsystem `NFNL_SUBSYS_NFTABLES` (linux/netfilter/nf_tables.h, nfnetlink.h).
const GET_TABLE: u16 = 10 << 8 | 1;
/// `NFTA_TABLE_NAME`.
const TABLE_NAME: u16 = 1;
/// `NLM_F_REQUEST` (linux/netlink.h).
const REQUEST: u16 = 1;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// The length of `struct nlmsghdr`.
const HEAD: usize = 16;

/// Whether both tables of a bridge are there ([`Filter::ruleset`](crate::net::Filter::ruleset)). Only root may ask.
///
/// # Errors
/// The kernel cannot be asked.
pub fn is_there(bridge: &str) -> io::Result<bool> {
    Ok(has_table(INET, bridge)? && has_table(BRIDGE, bridge)?)
}

fn has_table(family: u8, name: &str) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
    send(&socket, &question(family, name), SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    judged(answer.get(..length).unwrap_or_default())
}

/// `struct nlmsghdr`, `struct nfgenmsg`, and one attribute, each padded to four bytes (netlink(7)).
fn question(family: u8, name: &str) -> Vec<u8> {
    let mut attribute = [short(4 + name.len() + 1).to_ne_bytes(), TABLE_NAME.to_ne_bytes()].concat();
    attribute.extend(name.bytes().chain([0]));
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    let rest = [&[family, 0, 0, 0][..], &attribute].concat();
    let mut message = u32::from(short(HEAD + rest.len())).to_ne_bytes().to_vec();
    message.extend([GET_TABLE.to_ne_bytes(), REQUEST.to_ne_bytes()].concat());
    // Number and sender: there is one question, and the kernel knows who asks.
    message.extend([0; 8]);
    message.extend(rest);
    message
}

/// The name of a bridge has 11 characters at most.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// The table, or an error; `ENOENT` says that there is none.
fn judged(answer: &[u8]) -> io::Result<bool> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    if kind.ok_or(io::ErrorKind::UnexpectedEof)? != ERROR {
        return Ok(true);
    }
    let code = answer.get(HEAD..HEAD + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match Errno::from_raw_os_error(-code.ok_or(io::ErrorKind::UnexpectedEof)?) {
        Errno::NOENT => Ok(false),
        other => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32) -> Vec<u8> {
        let mut answer = 36u32.to_ne_bytes().to_vec();
        answer.extend(ERROR.to_ne_bytes());
        answer.extend([0; 10]);
        answer.extend(code.to_ne_bytes());
        answer
    }

    #[test]
    fn what_is_asked_has_the_kernels_form() {
        let asked = question(INET, "rk0");
        assert_eq!(asked.len(), 28);
        assert_eq!(asked[..4], 28u32.to_ne_bytes());
        assert_eq!(asked[20..], [&8u16.to_ne_bytes()[..], &1u16.to_ne_bytes(), b"rk0\0"].concat());
        assert_eq!(question(INET, "rk-abc").len(), 32, "padded");
    }

    #[test]
    fn no_table_is_an_answer_and_everything_else_an_error() {
        assert!(!judged(&error(-2)).unwrap());
        assert_eq!(judged(&error(-1)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(judged(&[]).is_err());
        assert!(judged(&error(-2)[..18]).is_err());
        let mut table = error(0);
        table[4..6].copy_from_slice(&(10u16 << 8).to_ne_bytes());
        assert!(judged(&table).unwrap());
    }
}
