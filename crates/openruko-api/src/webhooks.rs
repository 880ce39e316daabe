//! What happens to apps, told to URLs. An event is put down for each webhook in the transaction of the change
//! itself; one task of the server delivers what is due.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ruko_api_types::platform::WebhookLevel;
use ruko_core::UserName;
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::AnyConnection;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;
use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::api::Api;
use crate::clock::{self, Millis};
use crate::platform::public_id;
use crate::store::pushes::PushRow;
use crate::store::webhooks::{self, Attempt, Due, DueRow, NewDelivery, WebhookRow};
use crate::store::{Sql, apps, new_id, releases};

/// What can be told of.
pub(crate) const KINDS: [&str; 9] = [
    "api:app",
    "api:build",
    "api:collaborator",
    "api:domain",
    "api:dyno",
    "api:formation",
    "api:release",
    "api:sni-endpoint",
    "dyno",
];

/// How long an attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deliveries at a time.
const AT_ONCE: u32 = 16;

/// Of those, the webhooks of one app have so many. Whoever does not answer holds up no other app.
const OF_APP: u32 = 2;

/// And all apps of one owner.
const OF_OWNER: u32 = 4;

/// So many that are due are looked at: beside each place there may be as many as one owner has, none of which may be
/// sent now.
const LOOKED_AT: u32 = AT_ONCE * (OF_OWNER + 1);

/// After so long, one that was taken and not answered for is due again.
const TAKEN: Millis = 60_000;

/// The pause after the first attempt; it doubles with each.
const FIRST_PAUSE: Millis = 15_000;

/// The longest pause.
const LONGEST_PAUSE: Millis = 6 * 3_600_000;

/// After so many attempts it is given up: a good day later.
const ATTEMPTS: u64 = 15;

/// How long ended deliveries can be looked at.
const KEPT: Millis = 7 * 24 * 3_600_000;

/// How often is looked though nobody told of anything: another API may serve the same database.
const LOOK: Millis = 30_000;

/// Something that happened.
pub(crate) struct Event<'a> {
    /// `api:release`, one of [`KINDS`].
    pub(crate) kind: &'a str,
    /// `create`, `update` or `destroy`.
    pub(crate) action: &'a str,
    /// The resource, as clients see it.
    pub(crate) data: Value,
    pub(crate) user: &'a UserName,
}

/// The webhooks of an app that want to be told of this.
pub(crate) async fn wanting(db: &mut AnyConnection, app_id: &str, kind: &str) -> Sql<Vec<WebhookRow>> {
    let mut all = webhooks::of_app(db, app_id).await?;
    all.retain(|webhook| webhook.include.iter().any(|wanted| wanted == kind));
    Ok(all)
}

/// Puts an event down for each of these webhooks.
pub(crate) async fn tell(db: &mut AnyConnection, webhooks: &[WebhookRow], event: &Event<'_>) -> Sql<()> {
    let event_id = new_id();
    for webhook in webhooks {
        let id = new_id();
        let payload = payload(event, &event_id, &webhook.id, &id).to_string();
        let new = NewDelivery {
            webhook_id: &webhook.id,
            event_id: &event_id,
            include: event.kind,
            payload: &payload,
        };
        webhooks::enqueue(db, &id, new).await?;
    }
    Ok(())
}

/// Tells of a release that was made in this transaction (`create`), or ended in it (`update`).
pub(crate) async fn tell_release(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
    action: &str,
) -> Sql<()> {
    let wanting = wanting(db, app_id, "api:release").await?;
    if wanting.is_empty() {
        return Ok(());
    }
    let Some(release) = releases::find(db, app_id, version).await? else { return Ok(()) };
    let data = json!({
        "id": public_id(&release.id),
        "version": release.version,
        "status": releases::status_word(release.status),
        "description": release.description,
        "current": apps::by_id(db, app_id).await?.serving == version,
        "user": { "email": release.user_address() },
        "app": app(db, app_id).await?,
        "slug": release.slug.as_ref().map(|slug| json!({ "id": public_id(&slug.id) })),
        "created_at": clock::rfc3339(release.created_at),
        "updated_at": clock::rfc3339(release.updated_at),
    });
    let event = Event { kind: "api:release", action, data, user: &release.user };
    tell(db, &wanting, &event).await
}

/// Tells of a build that ended in this transaction: with a release, or with nothing.
pub(crate) async fn tell_build(db: &mut AnyConnection, push: &PushRow, release: Option<u64>) -> Sql<()> {
    let wanting = wanting(db, &push.app_id, "api:build").await?;
    if wanting.is_empty() {
        return Ok(());
    }
    let data = json!({
        "id": public_id(push.id.as_str()),
        "status": if release.is_some() { "succeeded" } else { "failed" },
        "user": { "email": push.user },
        "app": app(db, &push.app_id).await?,
        "release": release.map(|version| json!({ "version": version })),
        "created_at": clock::rfc3339(push.created_at),
        "updated_at": clock::rfc3339(clock::now()),
    });
    tell(db, &wanting, &Event { kind: "api:build", action: "update", data, user: &push.user }).await
}

/// As it is named in other resources.
async fn app(db: &mut AnyConnection, id: &str) -> Sql<Value> {
    Ok(json!({ "id": public_id(id), "name": apps::by_id(db, id).await?.name }))
}

/// The form of <https://devcenter.heroku.com/articles/app-webhooks-schema>.
fn payload(event: &Event<'_>, event_id: &str, webhook_id: &str, delivery_id: &str) -> Value {
    let now = clock::rfc3339(clock::now());
    json!({
        "id": public_id(event_id),
        "action": event.action,
        "actor": { "email": event.user },
        "created_at": now,
        "updated_at": now,
        "published_at": now,
        "data": event.data,
        "previous_data": {},
        "resource": event.kind.trim_start_matches("api:"),
        "sequence": null,
        "version": "application/vnd.heroku+json; version=3",
        "webhook_metadata": {
            "delivery": { "id": public_id(delivery_id) },
            "event": { "id": public_id(event_id), "include": event.kind },
            "webhook": { "id": public_id(webhook_id) },
        },
    })
}

/// Delivers what is due, until the API is told to stop.
pub(crate) async fn deliver(api: Api) {
    let private = api.settings.public.as_ref().is_some_and(|public| public.webhook_private);
    let mut open = Open { agent: agent(private), attempts: JoinSet::new(), of: HashMap::new() };
    while !api.is_stopping() {
        let mut told = pin!(api.webhooks_due.notified());
        told.as_mut().enable();
        let wait = match open.fill(&api).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(cause = ruko_core::exit::chain(&error), "webhooks cannot be delivered");
                LOOK
            }
        };
        let until = Instant::now() + Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        let has_room = open.room() > 0;
        let ended = tokio::select! {
            Some(ended) = open.attempts.join_next_with_id() => Some(ended),
            () = &mut told, if has_room => None,
            () = tokio::time::sleep_until(until), if has_room => None,
            () = api.stopping() => None,
        };
        if let Some(ended) = ended {
            open.settle(&api, ended).await;
        }
    }
    while let Some(ended) = open.attempts.join_next_with_id().await {
        open.settle(&api, ended).await;
    }
}

/// An attempt, and what came of it.
type Made = (DueRow, Sent);

/// Attempts that are being made.
struct Open {
    agent: Agent,
    attempts: JoinSet<Made>,
    /// The app and the owner of each.
    of: HashMap<task::Id, (String, String)>,
}

impl Open {
    fn room(&self) -> u32 {
        AT_ONCE.saturating_sub(u32::try_from(self.of.len()).unwrap_or(AT_ONCE))
    }

    /// Begins as many attempts as there is room for; gives how long there is nothing more to begin, but by what ends.
    async fn fill(&mut self, api: &Api) -> Sql<Millis> {
        if self.room() == 0 {
            return Ok(LOOK);
        }
        let now = clock::now();
        let (due, next) = {
            let mut db = api.store.read().await?;
            let due = webhooks::due(&mut db, now, (OF_APP, OF_OWNER), LOOKED_AT).await?;
            (due, webhooks::next_due(&mut db, now).await?)
        };
        let chosen = chosen(self.of.values().cloned().collect(), due);
        let wanted = chosen.len();
        if wanted > 0 {
            let mut db = api.store.write().await?;
            let mut taken = Vec::new();
            for Due { id, app_id, owner_id } in chosen {
                let one = webhooks::take(&mut db, &id, now, now + TAKEN).await?;
                taken.extend(one.map(|one| (one, (app_id, owner_id))));
            }
            webhooks::forget_ended(&mut db, now - KEPT).await?;
            db.commit().await?;
            let others_were_first = taken.len() < wanted;
            for (one, of) in taken {
                let agent = self.agent.clone();
                let attempt = self.attempts.spawn_blocking(move || {
                    let answer = send(&agent, &one);
                    (one, answer)
                });
                self.of.insert(attempt.id(), of);
            }
            if others_were_first {
                return Ok(0);
            }
        }
        Ok(next.map_or(LOOK, |next| (next - now).min(LOOK)))
    }

    /// Writes an attempt down. One that cannot be written down is made again when its time has come.
    async fn settle(&mut self, api: &Api, ended: Result<(task::Id, Made), JoinError>) {
        let (id, made) = match ended {
            Ok((id, made)) => (id, Some(made)),
            Err(broken) => (broken.id(), None),
        };
        self.of.remove(&id);
        let Some((one, answer)) = made else { return };
        if let Err(error) = write_down(api, &one, &answer).await {
            let cause = ruko_core::exit::chain(&error);
            tracing::error!(
                cause,
                delivery = public_id(&one.id),
                "an attempt to tell a webhook is not recorded"
            );
        }
    }
}

/// Which of those that are due may be sent beside what is open already: of these the app and the owner.
fn chosen(mut open: Vec<(String, String)>, due: Vec<Due>) -> Vec<Due> {
    let most = |bound: u32| usize::try_from(bound).unwrap_or(usize::MAX);
    let mut chosen = Vec::new();
    for one in due {
        let of_app = open.iter().filter(|(app, _)| *app == one.app_id).count();
        let of_owner = open.iter().filter(|(_, owner)| *owner == one.owner_id).count();
        if open.len() < most(AT_ONCE) && of_app < most(OF_APP) && of_owner < most(OF_OWNER) {
            open.push((one.app_id.clone(), one.owner_id.clone()));
            chosen.push(one);
        }
    }
    chosen
}

async fn write_down(api: &Api, one: &DueRow, answer: &Sent) -> Sql<()> {
    let mut db = api.store.write().await?;
    webhooks::attempted(&mut db, &one.id, judged(one, answer, clock::now())).await?;
    db.commit().await
}

/// The HTTP status that came back, or why none did.
type Sent = Result<u16, String>;

/// Whatever is answered beside the status is not read.
fn send(agent: &Agent, one: &DueRow) -> Sent {
    let mut request = agent
        .post(&one.url)
        .header("Content-Type", "application/json")
        .header("Heroku-Webhook-Hmac-SHA256", signature(&one.secret, &one.payload));
    if let Some(authorization) = &one.authorization {
        request = request.header("Authorization", authorization);
    }
    request.send(one.payload.as_str()).map(|response| response.status().as_u16()).map_err(|e| e.to_string())
}

/// HMAC-SHA256 of the body in base 64.
fn signature(secret: &str, body: &str) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn judged<'a>(one: &DueRow, answer: &'a Sent, now: Millis) -> Attempt<'a> {
    let code = answer.as_ref().ok().copied();
    let error = answer.as_ref().err().map(String::as_str);
    if code.is_some_and(|code| (200..300).contains(&code)) {
        return Attempt { status: "succeeded", next_at: None, code, error };
    }
    let attempts = one.attempts + 1;
    if one.level == WebhookLevel::Notify || attempts >= ATTEMPTS {
        return Attempt { status: "failed", next_at: None, code, error };
    }
    Attempt { status: "retrying", next_at: Some(now + pause(attempts)), code, error }
}

/// The pause after so many attempts.
fn pause(attempts: u64) -> Millis {
    let doubled = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
    FIRST_PAUSE.saturating_mul(1 << doubled).min(LONGEST_PAUSE)
}

/// Follows no redirect and uses no proxy: it goes to the addresses that were judged, and nowhere else.
fn agent(private: bool) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .proxy(None)
        .timeout_global(Some(PATIENCE))
        .user_agent("openruko-webhooks")
        .build();
    let resolver = Judged { resolver: DefaultResolver::default(), private };
    Agent::with_parts(config, DefaultConnector::default(), resolver)
}

/// Resolves names, and gives those addresses alone to which users may have us connect: not to the inside of our
/// own network. What is connected to is what was judged, so a name cannot change in between.
#[derive(Debug)]
struct Judged {
    resolver: DefaultResolver,
    /// Whether the inside is allowed as well.
    private: bool,
}

impl Resolver for Judged {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let all = self.resolver.resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        let pass = |address: &&SocketAddr| self.private || is_public(address.ip());
        for address in all.iter().filter(pass) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let why = "the host is on a private network: an admin can allow that with `webhook_private`";
            return Err(ureq::Error::Other(why.into()));
        }
        Ok(allowed)
    }
}

/// Whether an address is of the internet at large: <https://www.iana.org/assignments/iana-ipv4-special-registry>
/// and its sibling for IPv6.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_public_v4(v4),
            // Everything that is assigned to the internet at large lies in 2000::/3.
            None => v6.segments()[0] & 0xe000 == 0x2000 && !is_special_v6(v6),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18);
    !special
}

/// The IPv4 address that packets to this one may end up at: mapped, NAT64, 6to4.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Teredo, benchmarks and documentation.
fn is_special_v6(v6: Ipv6Addr) -> bool {
    let [a, b, ..] = v6.segments();
    (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || (a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_at_large_are_reached() {
        for public in ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "64:ff9b:1::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }

    #[test]
    fn no_app_and_no_owner_takes_all_places() {
        let of = |app: &str, owner: &str| (app.to_owned(), owner.to_owned());
        let due = |id: &str, app: &str, owner: &str| Due {
            id: id.to_owned(),
            app_id: app.to_owned(),
            owner_id: owner.to_owned(),
        };
        let ids = |open: &[(String, String)], all: Vec<Due>| -> Vec<String> {
            chosen(open.to_vec(), all).into_iter().map(|one| one.id).collect()
        };
        let all = || vec![due("1", "a", "m"), due("2", "a", "m"), due("3", "b", "m"), due("4", "c", "n")];
        assert_eq!(ids(&[], all()), ["1", "2", "3", "4"]);
        assert_eq!(ids(&[of("a", "m")], all()), ["1", "3", "4"]);
        assert_eq!(ids(&[of("a", "m"), of("d", "m"), of("d", "m")], all()), ["1", "4"]);
        let full: Vec<_> = (0..AT_ONCE).map(|n| of(&n.to_string(), &n.to_string())).collect();
        assert!(ids(&full, all()).is_empty() && ids(&full[1..], all()) == ["1"]);
    }

    #[test]
    fn what_fails_is_tried_again_less_and_less_often_and_then_no_more() {
        let due = |level, attempts| DueRow {
            id: String::new(),
            attempts,
            payload: String::new(),
            url: String::new(),
            level,
            secret: String::new(),
            authorization: None,
        };
        let (fine, bad): (Sent, Sent) = (Ok(204), Ok(500));
        let sync = |attempts, sent| {
            let attempt = judged(&due(WebhookLevel::Sync, attempts), sent, 0);
            (attempt.status, attempt.next_at)
        };
        assert_eq!(sync(0, &fine), ("succeeded", None));
        assert_eq!(sync(0, &bad), ("retrying", Some(15_000)));
        assert_eq!(sync(1, &bad), ("retrying", Some(30_000)));
        assert_eq!(sync(13, &bad), ("retrying", Some(LONGEST_PAUSE)));
        assert_eq!(sync(14, &bad), ("failed", None));
        assert_eq!(sync(0, &Ok(302)), ("retrying", Some(15_000)));
        assert_eq!(sync(0, &Err("no route".into())), ("retrying", Some(15_000)));
        assert_eq!(judged(&due(WebhookLevel::Notify, 0), &bad, 0).status, "failed");
    }

    #[test]
    fn signatures_are_hmac_sha_256_in_base_64() {
        // RFC 4231, test case 2.
        let signed = signature("Jefe", "what do ya want for nothing?");
        assert_eq!(signed, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
    }
}
