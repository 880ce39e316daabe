//! The key with which an app's builds fetch private submodules. Its private half never leaves by this door.

use axum::Json;
use axum::extract::State;
use ruko_api_types::platform::{DeployKey, DeployKeyHosts};
use sqlx::AnyConnection;

use super::apps;
use super::caller::TheApp;
use super::route::{OPERATE, Route, VIEW, delete, get, patch, put};
use crate::api::Api;
use crate::clock;
use crate::deploy_key;
use crate::errors::{Answer, ApiFault};
use crate::extract::Body;
use crate::public_key::PublicKey;
use crate::store::apps::AppRow;
use crate::store::deploy_keys::{self, DeployKeyRow};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/deploy-key", VIEW, show)
            .says("The key with which builds fetch private submodules")
            .gives::<DeployKey>(),
        put("/apps/{app}/deploy-key", OPERATE, make)
            .says("Make a new key, in place of the one that there was")
            .takes::<DeployKeyHosts>()
            .gives::<DeployKey>(),
        patch("/apps/{app}/deploy-key", OPERATE, set_hosts)
            .says("Set the hosts that the key is shown to")
            .takes::<DeployKeyHosts>()
            .gives::<DeployKey>(),
        delete("/apps/{app}/deploy-key", OPERATE, remove).says("Remove the key").gives::<DeployKey>(),
    ]
}

/// The most lines of known hosts of one app.
const MAX_HOSTS: usize = 50;

async fn show(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<DeployKey>> {
    let mut db = api.store.read().await?;
    Ok(Json(described(&app, &of_app(&mut db, &app).await?)))
}

async fn make(
    State(api): State<Api>,
    TheApp(app): TheApp,
    Body(wanted): Body<DeployKeyHosts>,
) -> Answer<Json<DeployKey>> {
    let hosts = hosts(&wanted)?;
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app).await?;
    let before = deploy_keys::of_app(&mut db, &app.id).await?;
    let hosts = match before {
        Some(before) if hosts.is_empty() => before.known_hosts,
        _ => hosts,
    };
    let key = deploy_key::DeployKey::generate(app.name.as_str())?;
    deploy_keys::set(&mut db, &app.id, &key, &hosts).await?;
    let made = of_app(&mut db, &app).await?;
    db.commit().await?;
    Ok(Json(described(&app, &made)))
}

async fn set_hosts(
    State(api): State<Api>,
    TheApp(app): TheApp,
    Body(wanted): Body<DeployKeyHosts>,
) -> Answer<Json<DeployKey>> {
    let hosts = hosts(&wanted)?;
    let mut db = api.store.write().await?;
    of_app(&mut db, &app).await?;
    deploy_keys::set_known_hosts(&mut db, &app.id, &hosts).await?;
    let key = of_app(&mut db, &app).await?;
    db.commit().await?;
    Ok(Json(described(&app, &key)))
}

async fn remove(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<DeployKey>> {
    let mut db = api.store.write().await?;
    let key = of_app(&mut db, &app).await?;
    deploy_keys::delete(&mut db, &app.id).await?;
    db.commit().await?;
    Ok(Json(described(&app, &key)))
}

async fn of_app(db: &mut AnyConnection, app: &AppRow) -> Answer<DeployKeyRow> {
    let key = deploy_keys::of_app(db, &app.id).await?;
    key.ok_or_else(|| ApiFault::missing("deploy_key", "This app has no deploy key."))
}

fn described(app: &AppRow, row: &DeployKeyRow) -> DeployKey {
    DeployKey {
        public_key: format!("{} {}", row.public_key, app.name),
        fingerprint: row.fingerprint.clone(),
        known_hosts: row.known_hosts.lines().map(str::to_owned).collect(),
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.updated_at),
    }
}

/// As they are written into a known_hosts file: each `NAME ALGORITHM KEY` and nothing else, so that no line can be
/// a mark (`@cert-authority`), a pattern or two lines.
fn hosts(wanted: &DeployKeyHosts) -> Answer<String> {
    if wanted.known_hosts.len() > MAX_HOSTS {
        return Err(ApiFault::invalid(format!("A deploy key has at most {MAX_HOSTS} lines of known hosts.")));
    }
    let mut text = String::new();
    for line in &wanted.known_hosts {
        let (name, key) = line.trim().split_once(' ').ok_or_else(|| bad_host(line))?;
        let key: PublicKey = key.parse().map_err(|_| bad_host(line))?;
        if !is_host(name) {
            return Err(bad_host(line));
        }
        text.push_str(&format!("{name} {}\n", key.line));
    }
    Ok(text)
}

/// A name or address, or `[NAME]:PORT` (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
fn is_host(name: &str) -> bool {
    let bare = match name.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        Some(_) => return false,
        None => name,
    };
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    (1..=253).contains(&bare.len()) && !bare.starts_with('-') && bare.bytes().all(inside)
}

fn bad_host(line: &str) -> ApiFault {
    let shown: String = line.chars().take(60).collect();
    ApiFault::invalid(format!(
        "`{}` is not a known host. It should read like `github.com ssh-ed25519 AAAA…`.",
        shown.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINoUZZDVDhdjlszLF+GGvZxdjmq747VLcdtqUFZvwq9h";

    fn read(lines: &[&str]) -> Answer<String> {
        hosts(&DeployKeyHosts { known_hosts: lines.iter().map(|&line| line.to_owned()).collect() })
    }

    #[test]
    fn known_hosts_are_names_with_keys_and_nothing_else() {
        let lines = [&format!("github.com {KEY} comment")[..], &format!("[10.0.0.1]:2222 {KEY}")];
        assert_eq!(read(&lines).unwrap(), format!("github.com {KEY}\n[10.0.0.1]:2222 {KEY}\n"));
        for bad in [
            "github.com",
            "",
            &format!("@cert-authority * {KEY}"),
            &format!("* {KEY}"),
            &format!("-oProxyCommand=x {KEY}"),
            &format!("a {KEY}\nb {KEY}"),
            &format!("[a]:x {KEY}"),
            &format!("|1|abc|def {KEY}"),
            "github.com ssh-ed25519 AAAA",
        ] {
            assert!(read(&[bad]).is_err(), "{bad}");
        }
        assert!(read(&[format!("a {KEY}").as_str(); MAX_HOSTS + 1]).is_err());
    }
}
