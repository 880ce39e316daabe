//! The API over real HTTP and a real database, through the client that the components use.
//!
//! Every test runs on both databases: `sqlite` and `postgres` are the same files. What one of them alone
//! can do or do wrong is in `sqlite_only` and `postgres_only`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::duplicate_mod, reason = "the same tests on two databases")]

mod copying;
#[path = "suite.rs"]
mod postgres;
mod postgres_only;
#[path = "suite.rs"]
mod sqlite;
mod sqlite_only;
