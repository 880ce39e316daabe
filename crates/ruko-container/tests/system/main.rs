//! Real containers on this machine: needs root, LXC, nftables and control groups.
//!
//! `cargo test -p ruko-container --features system`, after `cargo build -p ruko-dyno`. Every test has a bridge, a
//! subnet and directories of its own, and removes them also when it fails; other containers may run at the same time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admin;
mod dynos;
mod lifecycle;
mod limits;
mod refusals;
mod sandbox;
mod stacks;
mod world;
