//! The world of the system tests: a whole openruko of its own on this machine, with its own installation,
//! state, ports, bridge and network, that is gone when the tests are.
#![expect(clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod plain_sshd;
mod platform;
pub mod results;
mod tls;
mod wait;
mod web;
mod world;

pub use client::{Developer, Pushed, Repo};
pub use plain_sshd::PlainSshd;
pub use platform::Platform;
pub use wait::{eventually, until};
pub use web::{Answered, Load, Web};
pub use world::{World, without_dynos};
