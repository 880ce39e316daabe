//! All tests, on the database that the module is named after.

mod admin;
mod developer;
mod durability;
mod leases;
mod platform;
mod platform_access;
mod platform_account;
mod platform_app_nouns;
mod platform_buildpacks;
mod platform_builds;
mod platform_certificates;
mod platform_config_vars;
mod platform_crowd;
mod platform_domains;
mod platform_drains;
mod platform_edge;
mod platform_formation;
pub(crate) mod platform_log_lines;
mod platform_logs;
mod platform_pipelines;
mod platform_releases;
mod platform_rights;
mod platform_webhooks;
pub(crate) mod program;
mod pushes;
mod rights;
pub(crate) mod world;
