//! The API over real HTTP and a real database, through the client that the components use.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admin;
mod developer;
mod durability;
mod leases;
mod platform;
mod platform_builds;
mod program;
mod pushes;
mod rights;
mod world;
