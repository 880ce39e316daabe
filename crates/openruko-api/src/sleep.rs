//! Putting apps to sleep that nobody asked for long enough.
//!
//! Who asked is known as far as the router has told it, and idle is what was idle then: after a time in which the API
//! was away, the router could not tell, or the clock was set, nothing sleeps that was asked for meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::AnyConnection;

use crate::api::Api;
use crate::clock::{self, Millis};
use crate::routing;
use crate::store::apps::{self, AppRow};
use crate::store::{Sql, one_offs, web};

/// How often is looked: so much longer than it is to an app may stay awake, and until the router tells.
const LOOK: Duration = Duration::from_secs(2);

/// Whoever waits at a terminal has given up by then.
const ATTACHED_WAITS: Millis = 10 * 60_000;

/// How long a command may wait for a host.
const DETACHED_WAITS: Millis = 24 * 3_600_000;

/// Puts to sleep what is tired, until the API is told to stop.
pub(crate) async fn watch(api: Api) {
    let mut due = tokio::time::interval(LOOK);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Err(error) = round(&api).await {
            tracing::warn!(cause = ruko_core::exit::chain(&error), "apps were not put to sleep");
        }
    }
}

async fn round(api: &Api) -> Sql<()> {
    let told = api.activity_told.load(Ordering::Relaxed);
    if told == 0 {
        return Ok(());
    }
    let mut db = api.store.read().await?;
    let any = !tired(&mut db, told).await?.is_empty();
    drop(db);
    if !any {
        return Ok(());
    }
    // Once more: somebody may have asked for one meanwhile.
    let mut db = api.store.write().await?;
    let tired = tired(&mut db, told).await?;
    for app in &tired {
        web::put_to_sleep(&mut db, &app.id).await?;
    }
    db.commit().await?;
    for app in tired {
        tracing::debug!("{} sleeps", app.name);
    }
    Ok(())
}

/// Apps with web dynos that should run and that nobody needed as far as was told.
async fn tired(db: &mut AnyConnection, told: Millis) -> Sql<Vec<AppRow>> {
    let mut tired = Vec::new();
    for id in web::tired(db, told).await? {
        let app = apps::by_id(db, &id).await?;
        if !routing::wanted_web(db, &app).await?.is_empty() {
            tired.push(app);
        }
    }
    Ok(tired)
}

/// Gives up dynos for one command that no host took up.
pub(crate) async fn give_up_one_offs(api: &Api) -> Sql<()> {
    let now = clock::now();
    let mut db = api.store.write().await?;
    one_offs::give_up(&mut db, now - ATTACHED_WAITS, now - DETACHED_WAITS).await?;
    db.commit().await
}
