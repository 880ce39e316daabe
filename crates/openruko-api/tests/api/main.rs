//! The API over real HTTP and a real database, through the client that the components use.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admin;
mod developer;
mod durability;
mod leases;
mod platform;
mod platform_access;
mod platform_app_nouns;
mod platform_config_vars;
mod platform_formation;
mod platform_releases;
mod program;
mod pushes;
mod rights;
mod world;
