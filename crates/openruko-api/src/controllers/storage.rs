//! Storage: what is not kept any more is deleted by whoever reaches it; what there is is shown to admins.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use ruko_api_types::storage::{
    AppUsage, CollectGarbage, FOUND, Garbage, GarbageObject, StorageDone, StorageUsage, StorageWork,
    ToDelete, ToList,
};
use tokio::time::Instant;

use super::pushes::MAX_WAIT;
use super::to_the_end;
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::Body;
use crate::store::{Sql, discarded, retention as rows};
use crate::{clock, retention};

/// `POST /internal/storage/work`
pub(crate) async fn work(State(api): State<Api>, Body(done): Body<StorageDone>) -> Answer<Json<StorageWork>> {
    if done.found.len() > FOUND || done.deleted.len() > FOUND {
        return Err(ApiFault::invalid(format!("At most {FOUND} objects can be told of at a time.")));
    }
    let deadline = Instant::now() + Duration::from_secs(done.wait_seconds.min(MAX_WAIT));
    take(&api, done).await?;
    loop {
        let mut due = pin!(api.storage_due.notified());
        due.as_mut().enable();
        let work = next(&api).await?;
        let nothing = work.delete.is_empty() && work.list.is_none();
        if !nothing || Instant::now() >= deadline || api.is_stopping() {
            return Ok(Json(work));
        }
        // What somebody else failed to delete is told of when the next call comes.
        tokio::select! {
            () = &mut due => {}
            () = tokio::time::sleep_until(api.look_again_by(deadline)) => {}
            () = api.stopping() => {}
        }
    }
}

async fn take(api: &Api, done: StorageDone) -> Answer<()> {
    if done.deleted.is_empty() && done.found.is_empty() {
        return Ok(());
    }
    let api = api.clone();
    to_the_end(async move {
        let mut db = api.store.write().await?;
        discarded::forget(&mut db, &done.deleted).await?;
        let gone = retention::judge_found(&mut db, &done.found).await?;
        db.commit().await?;
        retention::log(&gone);
        Ok(())
    })
    .await
}

async fn next(api: &Api) -> Sql<StorageWork> {
    let mut work = StorageWork::default();
    if api.files_due.swap(false, Ordering::Relaxed) {
        work.list = Some(ToList {
            below: api.settings.storage.name("").trim_end_matches('/').to_owned(),
            older_than_seconds: u64::try_from(api.settings.retention.orphans / 1000).unwrap_or(u64::MAX),
        });
    }
    let mut db = api.store.read().await?;
    let waiting = discarded::waiting(&mut db).await?;
    drop(db);
    if waiting > 0 {
        let mut db = api.store.write().await?;
        let keys = discarded::hand_out(&mut db).await?;
        db.commit().await?;
        work.delete =
            keys.into_iter().map(|key| ToDelete { url: api.settings.storage.delete(&key), key }).collect();
    }
    Ok(work)
}

/// `GET /internal/storage`
pub(crate) async fn usage(State(api): State<Api>) -> Answer<Json<StorageUsage>> {
    let mut db = api.store.snapshot().await?;
    let app = |usage: rows::Usage| AppUsage {
        app: usage.app,
        slugs: usage.slugs.0,
        slug_bytes: usage.slugs.1,
        repositories: usage.repos.0,
        repository_bytes: usage.repos.1,
    };
    Ok(Json(StorageUsage {
        place: api.settings.storage.name(""),
        to_delete: discarded::waiting(&mut db).await?,
        apps: rows::usage(&mut db).await?.into_iter().map(app).collect(),
    }))
}

/// `POST /internal/storage/gc`
pub(crate) async fn gc(State(api): State<Api>, Body(asked): Body<CollectGarbage>) -> Answer<Json<Garbage>> {
    let gone = if asked.dry_run {
        retention::dry_run(&api).await?
    } else {
        let gone = retention::go(&api).await?;
        retention::log(&gone);
        api.files_listed.store(clock::now(), Ordering::Relaxed);
        api.files_due.store(api.settings.storage.are_files(), Ordering::Relaxed);
        api.storage_due.notify_waiters();
        gone
    };
    let object =
        |gone: rows::Gone| GarbageObject { name: api.settings.storage.name(&gone.key), bytes: gone.bytes };
    Ok(Json(Garbage { objects: gone.into_iter().map(object).collect() }))
}
