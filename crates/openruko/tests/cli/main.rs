//! The real program against a mock of the Platform API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod apps;
mod developer;
mod mock;
mod streams;
mod things;
